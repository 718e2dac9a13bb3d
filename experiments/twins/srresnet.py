"""SRResNet and SRGAN's discriminator: Ledig et al., CVPR 2017, arXiv 1609.04802.

State dicts of Lornatang's port.
"""

import torch
from torch import nn

from experiments.twins.layers import conv


class SRResNet(nn.Module):
    """(N, 3, H, W) in 0..1 -> (N, 3, scale * H, scale * W), not clamped."""

    rgb_range = 1.0

    def __init__(self, scale: int = 4, n_resblocks: int = 16, n_feats: int = 64) -> None:
        super().__init__()
        factors = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}[scale]
        self.conv1 = nn.Sequential(conv(3, n_feats, 9), nn.PReLU())
        self.trunk = nn.Sequential(*[_ResidualConvBlock(n_feats) for _ in range(n_resblocks)])
        self.conv2 = nn.Sequential(conv(n_feats, n_feats, bias=False), nn.BatchNorm2d(n_feats))
        self.upsampling = nn.Sequential(*[_UpsampleBlock(n_feats, f) for f in factors])
        self.conv3 = conv(n_feats, 3, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        x = x + self.conv2(self.trunk(x))
        return self.conv3(self.upsampling(x))


class _ResidualConvBlock(nn.Module):
    def __init__(self, n_feats: int) -> None:
        super().__init__()
        self.rcb = nn.Sequential(
            conv(n_feats, n_feats, bias=False),
            nn.BatchNorm2d(n_feats),
            nn.PReLU(),
            conv(n_feats, n_feats, bias=False),
            nn.BatchNorm2d(n_feats),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.rcb(x)


class _UpsampleBlock(nn.Module):
    def __init__(self, n_feats: int, factor: int) -> None:
        super().__init__()
        self.upsample_block = nn.Sequential(
            conv(n_feats, n_feats * factor**2), nn.PixelShuffle(factor), nn.PReLU()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.upsample_block(x)


class Discriminator(nn.Module):
    """(N, 3, image_size, image_size) in 0..1 -> (N, 1) logits (figure 4)."""

    rgb_range = 1.0

    def __init__(self, n_feats: int = 64, image_size: int = 96) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv(3, n_feats), nn.LeakyReLU(0.2, inplace=True)]
        n_in, side = n_feats, image_size
        for multiple in (1, 2, 4, 8):
            n_out = multiple * n_feats
            # The width doubles in a convolution of stride 1; the first one is already there.
            strides = (2,) if multiple == 1 else (1, 2)
            for stride in strides:
                layers += [
                    nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False),
                    nn.BatchNorm2d(n_out),
                    nn.LeakyReLU(0.2, inplace=True),
                ]
                n_in = n_out
            side = (side + 1) // 2
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(n_in * side * side, 1024),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(1024, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))
