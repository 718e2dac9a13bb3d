"""What several twins share. Attribute names are those of the published state dicts."""

import torch
from torch import nn

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)


def conv(n_in: int, n_out: int, kernel_size: int = 3, *, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the size of the image."""
    return nn.Conv2d(n_in, n_out, kernel_size, padding=kernel_size // 2, bias=bias)


class MeanShift(nn.Conv2d):
    """Adds `sign` times the DIV2K mean to (N, 3, H, W) of range 0..rgb_range.

    Frozen everywhere: RCAN's and SAN's repositories train it, but only by an oversight.
    """

    def __init__(self, sign: int, rgb_range: float) -> None:
        super().__init__(3, 3, 1)
        self.weight.data = torch.eye(3).reshape(3, 3, 1, 1)
        self.bias.data = sign * rgb_range * torch.tensor(DIV2K_MEAN)
        self.requires_grad_(False)


class ResidualBlock(nn.Module):
    """conv, ReLU, conv, times res_scale, plus the input (EDSR figure 2c)."""

    def __init__(self, n_feats: int, kernel_size: int = 3, res_scale: float = 1.0) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(n_feats, n_feats, kernel_size),
            nn.ReLU(inplace=True),
            conv(n_feats, n_feats, kernel_size),
        )
        self.res_scale = res_scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.add(x, self.body(x), alpha=self.res_scale)


class Upsampler(nn.Sequential):
    """Convolution and pixel shuffle: once for x3, once per doubling for x2, x4 and x8."""

    def __init__(self, scale: int, n_feats: int) -> None:
        factors = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}[scale]
        layers: list[nn.Module] = []
        for factor in factors:
            layers += [conv(n_feats, n_feats * factor**2), nn.PixelShuffle(factor)]
        super().__init__(*layers)
