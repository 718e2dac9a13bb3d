"""CSNLN: Mei et al., CVPR 2020, arXiv 2006.01424. State dict of the authors' repository."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from experiments.twins.attention import blocked_attention, tiled_cross_scale
from experiments.twins.layers import MeanShift, conv

SCORE_SCALE = 10.0
OVERLAP = 6.0  # published for both factors, although nine patches overlap


def dense_in_scale(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """(N, D, Q), (N, D, K), (N, V, K) -> (N, V, Q); all Q * K scores at once, as published."""
    return values @ torch.softmax(queries.mT @ keys, dim=-1).mT


def patch_cross_scale(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, least_norm: torch.Tensor
) -> torch.Tensor:
    """Correlation with all key patches, then pasting of all value patches, as published.

    Args:
        queries: (N, D, H, W).
        keys: (N, D, H / f, W / f); its 3 x 3 patches are normalised, the queries' are not.
        values: (N, C, H, W), cut into patches of 3f x 3f with stride f.
        least_norm: (1,), the smallest norm by which a key patch is divided.

    Returns:
        (N, C, f * H, f * W), sums of overlapping patches over 6.
    """
    factor = queries.shape[2] // keys.shape[2]
    key_patches = F.unfold(keys, 3, padding=1).mT
    norms = torch.linalg.vector_norm(key_patches, dim=2, keepdim=True)
    key_patches = key_patches / torch.maximum(norms, least_norm)
    value_patches = F.unfold(values, 3 * factor, padding=factor, stride=factor).mT
    images = []
    # The patches of an image are its own filters, so the images go one by one.
    for query, key, value in zip(queries, key_patches, value_patches, strict=True):
        filters = key.unflatten(1, (queries.shape[1], 3, 3))
        scores = F.conv2d(query[None], filters, padding=1)
        weights = torch.softmax(SCORE_SCALE * scores, dim=1)
        filters = value.unflatten(1, (values.shape[1], 3 * factor, 3 * factor))
        images.append(F.conv_transpose2d(weights, filters, stride=factor, padding=factor))
    return torch.cat(images) / OVERLAP


class Algorithm(NamedTuple):
    """How the two attentions are computed; every choice gives the same numbers."""

    in_scale: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
    cross_scale: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def tiled_patches(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, least_norm: torch.Tensor
) -> torch.Tensor:
    """As `patch_cross_scale`, without the ninefold work, in bounded memory."""
    return tiled_cross_scale(queries, keys, values, least_norm, SCORE_SCALE) / OVERLAP


ALGORITHMS = {
    "official": Algorithm(dense_in_scale, patch_cross_scale),
    "same_algorithm": Algorithm(blocked_attention, tiled_patches),
}


class CSNLN(nn.Module):
    """(N, 3, H, W) in 0..rgb_range -> (N, 3, scale * H, scale * W); one cell run `depth` times.

    H and W must be divisible by 2, for scale 3 by 3.
    """

    def __init__(
        self,
        scale: int = 2,
        n_feats: int = 128,
        depth: int = 12,
        rgb_range: float = 1.0,
        algorithm: str = "official",
    ) -> None:
        super().__init__()
        self.depth = depth
        self.rgb_range = rgb_range
        self.sub_mean = MeanShift(-1, rgb_range)
        cell, factor = {2: (_Cell, 2), 3: (_Cell, 3), 4: (_FourfoldCell, 2)}[scale]
        self.SEM = cell(n_feats, factor, ALGORITHMS[algorithm])
        self.add_mean = MeanShift(+1, rgb_range)
        self.head = nn.Sequential(_conv_prelu(3, n_feats), _conv_prelu(n_feats, n_feats))
        self.tail = nn.Sequential(conv(n_feats * depth, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.head(self.sub_mean(x))
        outputs = []
        for step in range(self.depth):
            outputs.append(self.SEM.enlarge(x))
            if step + 1 < self.depth:  # the published code makes the last one and drops it
                x = self.SEM.reduce(outputs[-1])
        return self.add_mean(self.tail(torch.cat(outputs, 1)))


class _Cell(nn.Module):
    """Self-exemplars mining cell for x2 and x3 (section 3.3)."""

    def __init__(self, n_feats: int, factor: int, algorithm: Algorithm) -> None:
        super().__init__()
        geometry = (3 * factor, factor, factor)
        self.multi_source_projection = _MultiSourceProjection(n_feats, factor, algorithm)
        self.down_sample_1 = _strided(n_feats, *geometry)
        self.down_sample_2 = _strided(n_feats, *geometry)
        self.error_encode = _transposed(n_feats, *geometry)
        self.post_conv = _conv_prelu(n_feats, n_feats)

    def enlarge(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, factor * H, factor * W)."""
        up = self.multi_source_projection(x)
        return up + self.error_encode(x - self.down_sample_1(up))

    def reduce(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, factor * H, factor * W) -> (N, C, H, W), the next step's input."""
        return self.post_conv(self.down_sample_2(x))


class _FourfoldCell(nn.Module):
    """The cell for x4: two doublings, each corrected against the low-resolution features."""

    def __init__(self, n_feats: int, factor: int, algorithm: Algorithm) -> None:
        super().__init__()
        geometry, twice = (3 * factor, factor, factor), (8, 4, 2)
        self.multi_source_projection = _MultiSourceProjection(n_feats, factor, algorithm)
        self.down_sample_1 = _strided(n_feats, *geometry)
        self.error_encode = _transposed(n_feats, *geometry)
        self.multi_source_projection_2 = _MultiSourceProjection(n_feats, factor, algorithm)
        self.down_sample_3 = _strided(n_feats, *twice)
        self.down_sample_4 = _strided(n_feats, *twice)
        self.error_encode_2 = _transposed(n_feats, *twice)
        self.post_conv = _conv_prelu(n_feats, n_feats)

    def enlarge(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) -> (N, C, 4H, 4W)."""
        up = self.multi_source_projection(x)
        up = up + self.error_encode(x - self.down_sample_1(up))
        up = self.multi_source_projection_2(up)
        return up + self.error_encode_2(x - self.down_sample_3(up))

    def reduce(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, 4H, 4W) -> (N, C, H, W), the next step's input."""
        return self.post_conv(self.down_sample_4(x))


class _MultiSourceProjection(nn.Module):
    """Merges cross-scale attention with enlarged in-scale attention (section 3.4)."""

    def __init__(self, n_feats: int, factor: int, algorithm: Algorithm) -> None:
        super().__init__()
        self.up_attention = _CrossScaleAttention(n_feats, factor, algorithm)
        self.down_attention = _InScaleAttention(n_feats, algorithm)
        self.upsample = _transposed(n_feats, 3 * factor, factor, factor)
        self.encoder = _ResidualBlock(n_feats)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        in_scale = self.upsample(self.down_attention(x))
        return in_scale + self.encoder(self.up_attention(x) - in_scale)


class _CrossScaleAttention(nn.Module):
    def __init__(self, n_feats: int, factor: int, algorithm: Algorithm) -> None:
        super().__init__()
        self.factor = factor
        self.attention = algorithm.cross_scale
        self.register_buffer("escape_NaN", torch.tensor([1e-4]))
        self.conv_match_1 = _conv_prelu(n_feats, n_feats // 2, 1)
        self.conv_match_2 = _conv_prelu(n_feats, n_feats // 2, 1)
        self.conv_assembly = _conv_prelu(n_feats, n_feats, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = (x.shape[2] // self.factor, x.shape[3] // self.factor)
        reduced = F.interpolate(x, size, mode="bilinear", align_corners=False)
        return self.attention(
            self.conv_match_1(x),
            self.conv_match_2(reduced),
            self.conv_assembly(x),
            self.escape_NaN,
        )


class _InScaleAttention(nn.Module):
    def __init__(self, n_feats: int, algorithm: Algorithm) -> None:
        super().__init__()
        self.attention = algorithm.in_scale
        self.conv_match1 = _conv_prelu(n_feats, n_feats // 2, 1)
        self.conv_match2 = _conv_prelu(n_feats, n_feats // 2, 1)
        self.conv_assembly = _conv_prelu(n_feats, n_feats, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        queries, keys, values = self.conv_match1(x), self.conv_match2(x), self.conv_assembly(x)
        y = self.attention(queries.flatten(2), keys.flatten(2), values.flatten(2))
        return y.unflatten(2, x.shape[2:])


class _ResidualBlock(nn.Module):
    def __init__(self, n_feats: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(n_feats, n_feats), nn.PReLU(), conv(n_feats, n_feats))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


def _conv_prelu(n_in: int, n_out: int, kernel_size: int = 3) -> nn.Sequential:
    return nn.Sequential(conv(n_in, n_out, kernel_size), nn.PReLU())


def _strided(n_feats: int, kernel_size: int, stride: int, padding: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_feats, n_feats, kernel_size, stride, padding), nn.PReLU())


def _transposed(n_feats: int, kernel_size: int, stride: int, padding: int) -> nn.Sequential:
    layer = nn.ConvTranspose2d(n_feats, n_feats, kernel_size, stride, padding)
    return nn.Sequential(layer, nn.PReLU())
