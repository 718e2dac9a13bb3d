"""MDSR: Lim et al., CVPR Workshops 2017, arXiv 1707.02921. State dict of EDSR-PyTorch."""

import torch
from torch import nn

from experiments.twins.layers import MeanShift, ResidualBlock, Upsampler, conv


class MDSR(nn.Module):
    """(N, 3, H, W) in 0..rgb_range and a scale -> (N, 3, scale * H, scale * W).

    Each scale owns its pre-processing and its upsampler; head, body and tail are shared.
    """

    def __init__(
        self,
        scales: tuple[int, ...] = (2, 3, 4),
        n_resblocks: int = 80,
        n_feats: int = 64,
        rgb_range: float = 255.0,
    ) -> None:
        super().__init__()
        self.scales = tuple(scales)
        self.rgb_range = rgb_range
        self.sub_mean = MeanShift(-1, rgb_range)
        self.add_mean = MeanShift(+1, rgb_range)
        self.pre_process = nn.ModuleList(
            nn.Sequential(ResidualBlock(n_feats, 5), ResidualBlock(n_feats, 5)) for _ in scales
        )
        self.upsample = nn.ModuleList(Upsampler(scale, n_feats) for scale in scales)
        self.head = nn.Sequential(conv(3, n_feats))
        blocks = [ResidualBlock(n_feats) for _ in range(n_resblocks)]
        self.body = nn.Sequential(*blocks, conv(n_feats, n_feats))
        self.tail = nn.Sequential(conv(n_feats, 3))

    def forward(self, x: torch.Tensor, scale: int) -> torch.Tensor:
        branch = self.scales.index(scale)
        x = self.pre_process[branch](self.head(self.sub_mean(x)))
        x = x + self.body(x)
        return self.add_mean(self.tail(self.upsample[branch](x)))
