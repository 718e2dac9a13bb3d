"""SAN: Dai et al., CVPR 2019. State dict of the authors' repository, dead parameters included."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from experiments.twins.attention import blocked_attention
from experiments.twins.layers import MeanShift, Upsampler, conv

POOLED_SIDE = 1000  # larger feature maps enter the covariance by a centre crop of this side


def dense_covariance(x: torch.Tensor) -> torch.Tensor:
    """(N, C, M) -> (N, C, C), biased; through the M x M centring matrix, as published."""
    size = x.shape[-1]
    centring = torch.eye(size, dtype=x.dtype, device=x.device).div_(size).sub_(1 / size**2)
    return x @ centring @ x.mT


def centred_covariance(x: torch.Tensor) -> torch.Tensor:
    """(N, C, M) -> (N, C, C), biased; a product of centred samples."""
    x = x - x.mean(2, keepdim=True)
    return x @ x.mT / x.shape[2]


def dense_attention(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
) -> torch.Tensor:
    """(N, D, Q), (N, D, K), (N, V, K) -> (N, V, Q); all Q * K scores at once, as published."""
    return values @ torch.softmax(queries.mT @ keys, dim=-1).mT


class Algorithm(NamedTuple):
    """How the two costly operations are computed; every choice gives the same numbers."""

    covariance: Callable[[torch.Tensor], torch.Tensor]
    attention: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


ALGORITHMS = {
    "official": Algorithm(dense_covariance, dense_attention),
    "same_algorithm": Algorithm(centred_covariance, blocked_attention),
}


class SAN(nn.Module):
    """(N, 3, H, W) in 0..rgb_range, H and W >= 4 -> (N, 3, scale * H, scale * W).

    Parameters that the published forward pass never uses are there for strict loading:
    `conv_last`, `RG.*.gamma` and `non_local.soca`.
    """

    def __init__(
        self,
        scale: int = 2,
        n_resgroups: int = 20,
        n_resblocks: int = 10,
        n_feats: int = 64,
        reduction: int = 16,
        rgb_range: float = 255.0,
        algorithm: str = "official",
    ) -> None:
        super().__init__()
        self.rgb_range = rgb_range
        covariance, attention = ALGORITHMS[algorithm]
        self.gamma = nn.Parameter(torch.zeros(1))
        self.sub_mean = MeanShift(-1, rgb_range)
        self.RG = nn.ModuleList(
            _SecondOrderGroup(n_resblocks, n_feats, reduction, covariance)
            for _ in range(n_resgroups)
        )
        self.conv_last = conv(n_feats, n_feats)
        self.add_mean = MeanShift(+1, rgb_range)
        self.non_local = _RegionNonLocal(n_feats, covariance, attention)
        self.head = nn.Sequential(conv(3, n_feats))
        self.tail = nn.Sequential(Upsampler(scale, n_feats), conv(n_feats, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shallow = self.head(self.sub_mean(x))
        source = x = self.non_local(shallow)
        shared = self.gamma * source
        for group in self.RG:
            x = group(x) + shared
        return self.add_mean(self.tail(self.non_local(x) + shallow))


class _SecondOrderGroup(nn.Module):
    """Residual blocks, second-order channel attention, convolution, plus the input."""

    def __init__(
        self,
        n_resblocks: int,
        n_feats: int,
        reduction: int,
        covariance: Callable[[torch.Tensor], torch.Tensor],
    ) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.rcab = nn.Sequential(*[_ResidualBlock(n_feats) for _ in range(n_resblocks)])
        self.soca = _SecondOrderChannelAttention(n_feats, reduction, covariance)
        self.conv_last = conv(n_feats, n_feats)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv_last(self.soca(self.rcab(x)))


class _ResidualBlock(nn.Module):
    def __init__(self, n_feats: int) -> None:
        super().__init__()
        self.conv_first = nn.Sequential(
            conv(n_feats, n_feats), nn.ReLU(inplace=True), conv(n_feats, n_feats)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv_first(x)


class _SecondOrderChannelAttention(nn.Module):
    """Gates each channel by the row means of the covariance's square root (section 3.3)."""

    def __init__(
        self, n_feats: int, reduction: int, covariance: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        super().__init__()
        self.covariance = covariance
        self.conv_du = nn.Sequential(
            conv(n_feats, n_feats // reduction, 1),
            nn.ReLU(inplace=True),
            conv(n_feats // reduction, n_feats, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        root = matrix_square_root(self.covariance(_centre_crop(x).flatten(2)))
        return x * self.conv_du(root.mean(2)[:, :, None, None])


def _centre_crop(x: torch.Tensor) -> torch.Tensor:
    for axis in (2, 3):
        excess = x.shape[axis] - POOLED_SIDE
        if excess > 0:
            x = x.narrow(axis, excess // 2, POOLED_SIDE)
    return x


def matrix_square_root(a: torch.Tensor) -> torch.Tensor:
    """Five Newton-Schulz steps on (N, C, C) of unit trace: exactly five, far from convergence."""
    trace = a.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    a = a / trace
    identity = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    z = 1.5 * identity - 0.5 * a
    y = a @ z
    for _ in range(3):
        step = torch.baddbmm(1.5 * identity, z, y, alpha=-0.5)
        y, z = y @ step, step @ z
    y = y @ torch.baddbmm(1.5 * identity, z, y, alpha=-0.5)
    return y * trace.sqrt()


class _RegionNonLocal(nn.Module):
    """One non-local block on each of the four quadrants; the far ones take the odd row, column."""

    def __init__(
        self,
        n_feats: int,
        covariance: Callable[[torch.Tensor], torch.Tensor],
        attention: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> None:
        super().__init__()
        self.soca = _SecondOrderChannelAttention(n_feats, 8, covariance)
        self.non_local = _NonLocal(n_feats, n_feats // 8, attention)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2] // 2, x.shape[3] // 2
        rows = []
        for row in (x[:, :, :height], x[:, :, height:]):
            quadrants = (row[..., :width], row[..., width:])
            rows.append(torch.cat([self.non_local(quadrant) for quadrant in quadrants], 3))
        return torch.cat(rows, 2)


class _NonLocal(nn.Module):
    """Embedded Gaussian attention; keys and values at half resolution, plus the input."""

    def __init__(
        self,
        n_feats: int,
        n_inner: int,
        attention: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    ) -> None:
        super().__init__()
        self.attention = attention
        self.g = nn.Sequential(conv(n_feats, n_inner, 1), nn.MaxPool2d(2))
        self.W = conv(n_inner, n_feats, 1)
        self.theta = conv(n_feats, n_inner, 1)
        self.phi = nn.Sequential(conv(n_feats, n_inner, 1), nn.MaxPool2d(2))
        nn.init.zeros_(self.W.weight)
        nn.init.zeros_(self.W.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        queries = self.theta(x).flatten(2)
        y = self.attention(queries, self.phi(x).flatten(2), self.g(x).flatten(2))
        return x + self.W(y.unflatten(2, x.shape[2:]))
