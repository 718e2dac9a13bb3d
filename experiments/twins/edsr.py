"""EDSR: Lim et al., CVPR Workshops 2017, arXiv 1707.02921. State dict of EDSR-PyTorch."""

import torch
from torch import nn

from experiments.twins.layers import MeanShift, ResidualBlock, Upsampler, conv


class EDSR(nn.Module):
    """(N, 3, H, W) in 0..rgb_range -> (N, 3, scale * H, scale * W)."""

    def __init__(
        self,
        scale: int = 2,
        n_resblocks: int = 32,
        n_feats: int = 256,
        res_scale: float = 0.1,
        rgb_range: float = 255.0,
    ) -> None:
        super().__init__()
        self.rgb_range = rgb_range
        self.sub_mean = MeanShift(-1, rgb_range)
        self.add_mean = MeanShift(+1, rgb_range)
        self.head = nn.Sequential(conv(3, n_feats))
        blocks = [ResidualBlock(n_feats, res_scale=res_scale) for _ in range(n_resblocks)]
        self.body = nn.Sequential(*blocks, conv(n_feats, n_feats))
        self.tail = nn.Sequential(Upsampler(scale, n_feats), conv(n_feats, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(self.sub_mean(x))
        x = x + self.body(x)
        return self.add_mean(self.tail(x))
