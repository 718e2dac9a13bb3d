"""Attention over whole images in bounded memory: the non-local blocks of SAN and CSNLN.

Dense attention holds a score for every pair of a query and a key, so that memory grows with the
square of the pixels. Here queries pass in blocks under `lax.map`, and the backward pass computes
each block's scores again (`jax.checkpoint`): forward and backward hold the scores of one block,
and memory grows with the pixels. The results are those of the dense formulae.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sr_jax.ops.products import exact_matmul, summed_dtype
from sr_jax.ops.rows import by_rows, by_rows_with_halo
from sr_jax.ops.target import platform, target

# Scores that one block holds on a CPU, 16 MB of float32: 2**18 to 2**24 take the same time to 15 %
# (9216 queries and keys; gradient 2.5, 2.3, 2.2, 2.2 CPU seconds at 2**18, 20, 22, 24), while
# temporary memory grows from 15 to 125 MB.
CPU_SCORES = 2**22
CPU_TILE = 16
# An accelerator holds as many as take this share of its memory in float32, so that a batch of
# training patches is one block and no loop. A gradient has several arrays of that size at once.
SHARE = 1 / 40


def scores_at_once() -> int:
    """How many scores a block holds on the device that is traced for."""
    device = target()
    if device.platform in ("cpu", "any") or not device.memory:
        return CPU_SCORES
    return int(device.memory * SHARE / 4)


def non_local_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, *, max_scores: int | None = None
) -> jax.Array:
    """softmax(query . key over keys) applied to the values, without scaling.

    Args:
        query: (N, P, C).
        key: (N, K, C).
        value: (N, K, D).
        max_scores: scores that are held at once, `scores_at_once` by default. Whole images while
            they fit, else blocks of queries; a block has at least one query, hence K scores.

    Returns:
        (N, P, D).
    """
    max_scores = max_scores or scores_at_once()
    n_queries, n_keys = query.shape[1], key.shape[1]
    rows = max(1, min(n_queries, max_scores // n_keys))
    n_blocks = -(-n_queries // rows)
    rows = -(-n_queries // n_blocks)  # even blocks need the least padding

    @jax.checkpoint
    def attend(block: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
        weights, total = _exponentials(exact_matmul(block, key.T))
        return _weighted(weights, value) / total

    def attend_image(operands: tuple[jax.Array, ...]) -> jax.Array:
        query, key, value = operands
        if n_blocks == 1:
            return attend(query, key, value)
        padded = jnp.pad(query, ((0, n_blocks * rows - n_queries), (0, 0)))
        blocks = padded.reshape(n_blocks, rows, -1)
        out = lax.map(lambda block: attend(block, key, value), blocks)
        return out.reshape(n_blocks * rows, -1)[:n_queries]

    at_once = max_scores // (n_queries * n_keys)
    return _over_images(attend_image, (query, key, value), at_once).astype(value.dtype)


def attend_maps(
    query: jax.Array, key: jax.Array, value: jax.Array, *, max_scores: int | None = None
) -> jax.Array:
    """`non_local_attention` of maps: every pixel of (N, H, W, C) over those of (N, h, w, C).

    Args:
        query, key: (N, H, W, C) and (N, h, w, C).
        value: (N, h, w, D).
        max_scores: see `non_local_attention`.

    Returns:
        (N, H, W, D).
    """

    def attend(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
        y = non_local_attention(_flat(query), key, value, max_scores=max_scores)
        return y.reshape(*query.shape[:-1], -1)

    return by_rows(attend, query, _flat(key), _flat(value))


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(len(x), -1, x.shape[-1])


def cross_scale_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    norm_floor: jax.Array,
    *,
    softmax_scale: float = 10.0,
    tile: int | None = None,
    max_scores: int | None = None,
) -> jax.Array:
    """Attention of 3x3 patches over 3x3 patches whose values are pasted with overlap.

    The official code of CSNLN (Mei et al., CVPR 2020, section 3.2) correlates the queries with
    every normalised 3x3 patch of the keys and pastes 3x3 patches of cells of values by a
    transposed convolution: nine times the work of the pixel pairs, in both directions. With
    R[p, q] = <query(p), key(q)>, zero outside either map, and d over {-1, 0, 1}^2:

        score[p, q]  = sum_d R[p + d, q + d] * softmax_scale / max(|key patch q|, norm_floor)
        weight[p, .] = softmax(score[p, .])
        result[p]    = sum_q (sum_d weight[p + d, q + d]) * value(q)

    so that both directions are matrix products over pixels and sums along diagonals.

    Args:
        query: (N, H, W, C).
        key: (N, h, w, C).
        value: (N, h, w, D); with D = f * f * C', in cells of f x f pixels, for upscaling by f.
        norm_floor: scalar, the least norm that a key patch is divided by.
        softmax_scale: factor on the scores.
        tile: side of the square of queries that are handled at once. Each tile computes the
            scores of a border of one query again (weights) and the products of a border of two.
            By default 16 on a CPU, else the largest of which `max_scores` are held.
        max_scores: scores up to which several images of a batch are handled at once;
            `scores_at_once` by default.

    Returns:
        (N, H, W, D), the sum of the overlapping pastes: nine in the interior.
    """
    height, width, channels = query.shape[1:]
    key_height, key_width, _ = key.shape[1:]
    max_scores = max_scores or scores_at_once()
    tile = tile or _largest_tile(max_scores, (key_height + 4) * (key_width + 2))
    # Maps of keys are flat, with a column of zeros on either side: a diagonal is then a slice of a
    # long contiguous row, and a step of `wide` is a step of one row.
    wide = key_width + 2
    tile_columns, columns = _even_split(width, tile)

    def attend_rows(
        query: jax.Array,
        first: jax.Array | int,
        key: jax.Array,
        value: jax.Array,
        norm_floor: jax.Array,
    ) -> jax.Array:
        """Of the queries from row `first` on, given with a border of two rows."""
        n_rows = query.shape[1] - 4
        tile_rows, rows = _even_split(n_rows, tile)
        after = (tile_rows * rows - n_rows, 2 + tile_columns * columns - width)
        grid = np.meshgrid(rows * np.arange(tile_rows), columns * np.arange(tile_columns))
        origins = np.stack(grid).transpose(2, 1, 0).reshape(-1, 2)

        @jax.checkpoint
        def attend_tile(
            origin: jax.Array, query: jax.Array, key: jax.Array, factor: jax.Array, value: jax.Array
        ) -> jax.Array:
            block = lax.dynamic_slice(
                query, (origin[0], origin[1], 0), (rows + 4, columns + 4, channels)
            )
            products = exact_matmul(block.reshape(-1, channels), key.T)
            products = products.reshape(rows + 4, columns + 4, -1)
            scores = _diagonal_sums(products, wide)  # queries and keys with a border of one
            scores = jnp.where(factor > 0, scores * factor, -jnp.inf)
            weights, total = _exponentials(scores)
            row = first + origin[0] - 1 + jnp.arange(rows + 2)
            column = origin[1] - 1 + jnp.arange(columns + 2)
            inside = ((row >= 0) & (row < height))[:, None] & (column >= 0) & (column < width)
            weights = _diagonal_sums(weights * (inside[:, :, None] / total), wide)
            weights = weights.reshape(rows * columns, -1)
            return _weighted(weights, value).reshape(rows, columns, -1)

        def attend_image(operands: tuple[jax.Array, ...]) -> jax.Array:
            query, key, value = operands
            squares = jnp.sum(jnp.square(key.astype(summed_dtype(key.dtype))), axis=-1)
            squares = jnp.pad(squares, 1)
            squares = squares[:, :-2] + squares[:, 1:-1] + squares[:, 2:]
            squares = squares[:-2] + squares[1:-1] + squares[2:]
            # The floor goes under the root, whose gradient at zero is infinite.
            norms = jnp.sqrt(jnp.maximum(squares, jnp.square(norm_floor)))
            factor = jnp.pad(softmax_scale / norms, 1).reshape(-1)  # 0: no key there
            query = jnp.pad(query, ((0, after[0]), (2, after[1]), (0, 0)))
            key = jnp.pad(key, ((2, 2), (1, 1), (0, 0))).reshape(-1, channels)
            key = jnp.pad(key, ((1, 1), (0, 0)))
            value = jnp.pad(value, ((0, 0), (1, 1), (0, 0))).reshape(key_height * wide, -1)[1:-1]

            def attend(origin: jax.Array) -> jax.Array:
                return attend_tile(origin, query, key, factor, value)

            out = attend(origins[0]) if len(origins) == 1 else lax.map(attend, jnp.asarray(origins))
            out = out.reshape(tile_rows, tile_columns, rows, columns, -1).transpose(0, 2, 1, 3, 4)
            out = out.reshape(tile_rows * rows, tile_columns * columns, -1)
            return out[:n_rows, :width]

        at_once = max_scores // ((rows + 4) * (columns + 4) * (key_height + 4) * wide)
        return _over_images(attend_image, (query, key, value), at_once).astype(value.dtype)

    return by_rows_with_halo(attend_rows, query, key, value, norm_floor, halo=2)


def _largest_tile(max_scores: int, keys: int) -> int:
    """The side of a square of queries that, with its border of two, has so many scores."""
    if platform() in ("cpu", "any"):
        return CPU_TILE
    return max(CPU_TILE, math.isqrt(max_scores // keys) - 4)


def _diagonal_sums(x: jax.Array, wide: int) -> jax.Array:
    """Sums over the nine steps of both maps at once, for `wide` flat keys in a row.

    (rows + 2, columns + 2, n + 2 * wide + 2) -> (rows, columns, n); output (i, j, k) is the sum of
    input (i + a, j + b, k + a * wide + b) over a and b in {0, 1, 2}.
    """
    x = x[:, :-2, :-2] + x[:, 1:-1, 1:-1] + x[:, 2:, 2:]
    return x[:-2, :, : -2 * wide] + x[1:-1, :, wide:-wide] + x[2:, :, 2 * wide :]


def _weighted(weights: jax.Array, value: jax.Array) -> jax.Array:
    """weights @ value, in float32 at least, by operands of the dtype of `value`."""
    return jnp.matmul(weights.astype(value.dtype), value, preferred_element_type=weights.dtype)


def _exponentials(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    """exp(scores - their maximum) and its sum over the last axis."""
    weights = jnp.exp(scores - lax.stop_gradient(scores.max(axis=-1, keepdims=True)))
    return weights, weights.sum(axis=-1, keepdims=True)


def _over_images(
    function: Callable[[tuple[jax.Array, ...]], jax.Array],
    operands: tuple[jax.Array, ...],
    at_once: int,
) -> jax.Array:
    """`function` of each image of a batch, `at_once` of them (at least one) side by side."""
    n = operands[0].shape[0]
    if n == 1:
        return function(tuple(operand[0] for operand in operands))[None]
    if at_once >= n:
        return jax.vmap(lambda *image: function(image))(*operands)
    return lax.map(function, operands, batch_size=at_once if at_once > 1 else None)


def _even_split(length: int, largest: int) -> tuple[int, int]:
    """(number, size) of the parts: as even as can be, none longer than `largest`."""
    number = -(-length // largest)
    return number, -(-length // number)
