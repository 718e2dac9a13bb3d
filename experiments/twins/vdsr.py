"""VDSR: Kim et al., CVPR 2016, arXiv 1511.04587; one class per published state dict."""

import torch
import torch.nn.functional as F
from torch import nn

from experiments.twins.layers import MeanShift, conv


class VDSR(nn.Module):
    """With biases, state dict of the EDSR repository.

    (N, n_colors, H, W) in 0..rgb_range, already interpolated -> the same shape. For RGB the
    global skip starts after the mean is subtracted; luma has no mean shift.
    """

    def __init__(
        self, depth: int = 20, n_feats: int = 64, n_colors: int = 1, rgb_range: float = 1.0
    ) -> None:
        super().__init__()
        self.rgb_range = rgb_range
        rgb = n_colors == 3
        self.sub_mean = MeanShift(-1, rgb_range) if rgb else nn.Identity()
        self.add_mean = MeanShift(+1, rgb_range) if rgb else nn.Identity()
        widths = (n_colors, *[n_feats] * (depth - 1))
        blocks = [nn.Sequential(conv(n, n_feats), nn.ReLU(inplace=True)) for n in widths[:-1]]
        self.body = nn.Sequential(*blocks, nn.Sequential(conv(n_feats, n_colors)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.sub_mean(x)
        return self.add_mean(x + self.body(x))


class VDSRWithoutBias(nn.Module):
    """Without biases, state dict of twtygqyy; (N, n_colors, H, W) in 0..1 -> the same shape."""

    rgb_range = 1.0

    def __init__(self, depth: int = 20, n_feats: int = 64, n_colors: int = 1) -> None:
        super().__init__()
        self.residual_layer = nn.Sequential(*[_ConvReLU(n_feats) for _ in range(depth - 2)])
        self.input = conv(n_colors, n_feats, bias=False)
        self.output = conv(n_feats, n_colors, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.input(x), inplace=True)
        return x + self.output(self.residual_layer(y))


class _ConvReLU(nn.Module):
    def __init__(self, n_feats: int) -> None:
        super().__init__()
        self.conv = conv(n_feats, n_feats, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.conv(x), inplace=True)
