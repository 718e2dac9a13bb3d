"""RCAN: Zhang et al., ECCV 2018, arXiv 1807.02758. State dict of the authors' repository."""

import torch
from torch import nn

from experiments.twins.layers import MeanShift, Upsampler, conv


class RCAN(nn.Module):
    """(N, 3, H, W) in 0..rgb_range -> (N, 3, scale * H, scale * W)."""

    def __init__(
        self,
        scale: int = 2,
        n_resgroups: int = 10,
        n_resblocks: int = 20,
        n_feats: int = 64,
        reduction: int = 16,
        rgb_range: float = 255.0,
    ) -> None:
        super().__init__()
        self.rgb_range = rgb_range
        self.sub_mean = MeanShift(-1, rgb_range)
        self.add_mean = MeanShift(+1, rgb_range)
        self.head = nn.Sequential(conv(3, n_feats))
        groups = [_ResidualGroup(n_resblocks, n_feats, reduction) for _ in range(n_resgroups)]
        self.body = nn.Sequential(*groups, conv(n_feats, n_feats))
        self.tail = nn.Sequential(Upsampler(scale, n_feats), conv(n_feats, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(self.sub_mean(x))
        x = x + self.body(x)
        return self.add_mean(self.tail(x))


class _ResidualGroup(nn.Module):
    def __init__(self, n_resblocks: int, n_feats: int, reduction: int) -> None:
        super().__init__()
        blocks = [_ChannelAttentionBlock(n_feats, reduction) for _ in range(n_resblocks)]
        self.body = nn.Sequential(*blocks, conv(n_feats, n_feats))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class _ChannelAttentionBlock(nn.Module):
    def __init__(self, n_feats: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(n_feats, n_feats),
            nn.ReLU(inplace=True),
            conv(n_feats, n_feats),
            _ChannelAttention(n_feats, reduction),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class _ChannelAttention(nn.Module):
    """Scales each channel by a gate computed from the means of all channels (section 3.3)."""

    def __init__(self, n_feats: int, reduction: int) -> None:
        super().__init__()
        self.conv_du = nn.Sequential(
            conv(n_feats, n_feats // reduction, 1),
            nn.ReLU(inplace=True),
            conv(n_feats // reduction, n_feats, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.conv_du(x.mean((2, 3), keepdim=True))
