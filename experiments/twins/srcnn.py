"""SRCNN: Dong et al., TPAMI 2016, arXiv 1501.00092. State dict of yjn870 and mmagic."""

import torch
import torch.nn.functional as F
from torch import nn

from experiments.twins.layers import conv


class SRCNN(nn.Module):
    """(N, n_colors, H, W) in 0..1, already interpolated -> the same shape; zero padding."""

    rgb_range = 1.0

    def __init__(
        self,
        kernel_sizes: tuple[int, int, int] = (9, 1, 5),
        n_feats: tuple[int, int] = (64, 32),
        n_colors: int = 1,
    ) -> None:
        super().__init__()
        self.conv1 = conv(n_colors, n_feats[0], kernel_sizes[0])
        self.conv2 = conv(n_feats[0], n_feats[1], kernel_sizes[1])
        self.conv3 = conv(n_feats[1], n_colors, kernel_sizes[2])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.conv1(x), inplace=True)
        x = F.relu(self.conv2(x), inplace=True)
        return self.conv3(x)
