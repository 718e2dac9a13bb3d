"""sr_jax's attention written in PyTorch: blocks of queries, and no ninefold work.

Same arithmetic and same bounds as `sr_jax.models.attention`, which has the formulae. A block's
scores are computed again in the backward pass. Several images go at once where their scores fit.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

MAX_SCORES = 2**22  # held at once
TILE = 16  # side of the squares of queries in cross-scale attention


def blocked_attention(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
) -> torch.Tensor:
    """(N, D, Q), (N, D, K), (N, V, K) -> (N, V, Q); softmax of the products over the keys."""
    n_queries, n_keys = queries.shape[2], keys.shape[2]
    rows = max(1, min(n_queries, MAX_SCORES // n_keys))
    images = max(1, MAX_SCORES // (rows * n_keys))
    parts = zip(*(x.split(images) for x in (queries, keys, values)), strict=True)
    return torch.cat([_attend_images(*part, rows) for part in parts])


def _attend_images(
    queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, rows: int
) -> torch.Tensor:
    blocks = queries.split(rows, 2)
    return torch.cat([_light(_attend, block, keys, values) for block in blocks], 2)


def _attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return values @ torch.softmax(queries.mT @ keys, dim=-1).mT


def tiled_cross_scale(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    least_norm: torch.Tensor,
    score_scale: float = 10.0,
) -> torch.Tensor:
    """Attention of 3 x 3 patches over 3 x 3 patches, pasted with overlap, sums not divided.

    Args:
        queries: (N, D, H, W).
        keys: (N, D, H / f, W / f).
        values: (N, C, H, W), in cells of f x f at the places of the keys.
        least_norm: (1,), the smallest norm by which a key patch is divided.
        score_scale: factor on the scores.

    Returns:
        (N, C, f * H, f * W).
    """
    height, width = queries.shape[2:]
    factor = height // keys.shape[2]
    wide = keys.shape[3] + 2  # a row of flat keys, between columns of zeros
    squares = F.avg_pool2d(keys.square().sum(1, keepdim=True), 3, 1, 1, divisor_override=1)
    factors = score_scale / squares.clamp_min(least_norm.square()).sqrt()
    factors = F.pad(factors, (1, 1, 1, 1)).flatten(1)  # 0: no key there
    flat_keys = F.pad(F.pad(keys, (1, 1, 2, 2)).flatten(2), (1, 1))
    cells = F.pad(F.pixel_unshuffle(values, factor), (1, 1)).flatten(2)[..., 1:-1].mT
    rows, columns = (_even(side, TILE) for side in (height, width))
    below, right = (-height % rows, -width % columns)
    padded = F.pad(queries, (2, 2 + right, 2, 2 + below)).permute(0, 2, 3, 1)
    inside = F.pad(queries.new_ones(height, width), (1, 1 + right, 1, 1 + below))

    def part(chosen: slice, top: int, left: int) -> torch.Tensor:
        block = padded[chosen, top : top + rows + 4, left : left + columns + 4]
        mask = inside[top : top + rows + 2, left : left + columns + 2, None]
        operands = (flat_keys[chosen], factors[chosen], cells[chosen])
        return _light(_attend_tile, block, mask, *operands, wide)

    images = max(1, MAX_SCORES // ((rows + 4) * (columns + 4) * flat_keys.shape[2]))
    batches = []
    for first in range(0, len(queries), images):
        chosen = slice(first, first + images)
        lines = [
            torch.cat([part(chosen, top, left) for left in range(0, width, columns)], 2)
            for top in range(0, height, rows)
        ]
        batches.append(torch.cat(lines, 1)[:, :height, :width])
    return F.pixel_shuffle(torch.cat(batches).permute(0, 3, 1, 2), factor)


def _attend_tile(
    block: torch.Tensor,
    mask: torch.Tensor,
    keys: torch.Tensor,
    factors: torch.Tensor,
    cells: torch.Tensor,
    wide: int,
) -> torch.Tensor:
    """Queries with a border of two, (N, r + 4, c + 4, D) -> (N, r, c, f * f * C)."""
    rows, columns = block.shape[1:3]
    products = (block.flatten(1, 2) @ keys).unflatten(1, (rows, columns))
    factors = factors[:, None, None]
    scores = _diagonal_sums(products, wide) * factors
    weights = torch.softmax(scores.masked_fill(factors == 0, -torch.inf), dim=-1)
    weights = _diagonal_sums(weights * mask, wide)
    return (weights.flatten(1, 2) @ cells).unflatten(1, (rows - 4, columns - 4))


def _diagonal_sums(x: torch.Tensor, wide: int) -> torch.Tensor:
    """Sums over the nine steps of both maps at once, for `wide` flat keys in a row.

    (N, r + 2, c + 2, k + 2 * wide + 2) -> (N, r, c, k).
    """
    x = x[:, :, :-2, :-2] + x[:, :, 1:-1, 1:-1] + x[:, :, 2:, 2:]
    return x[:, :-2, ..., : -2 * wide] + x[:, 1:-1, ..., wide:-wide] + x[:, 2:, ..., 2 * wide :]


def _light(function: Callable[..., torch.Tensor], *operands: torch.Tensor | int) -> torch.Tensor:
    """A call whose intermediate results the backward pass computes again."""
    if not torch.is_grad_enabled():
        return function(*operands)
    return checkpoint(function, *operands, use_reentrant=False, preserve_rng_state=False)


def _even(length: int, largest: int) -> int:
    """The size of the parts of a length: as even as can be, none above `largest`."""
    return -(-length // -(-length // largest))
