"""Convolutions with half of the multiplications: Winograd's F(4, 3) along the height.

Four rows of the result are found from six of the image, as six convolutions with 1x3 kernels whose
operands and results are sums of rows: A' [(G k) * (B' x)], Lavin and Gray, "Fast Algorithms for
Convolutional Neural Networks", CVPR 2016, equation 5. Along the width nothing is transformed: that
saves two thirds of the two-dimensional form's sums and most of its rounding error.

A 9x9 kernel is three of 3x9 for images that start three rows apart. These become channels.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sr_jax.ops import direct
from sr_jax.ops.cpu.groups import group_size, sum_over_groups
from sr_jax.ops.direct import Finish, Padding

_ROWS = 4


def _transforms(points: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(B', G, A') of Toom and Cook's interpolation at these points and infinity."""

    def powers(count: int) -> np.ndarray:
        infinity = np.eye(count)[-1:]
        return np.concatenate([np.vander(points, count, increasing=True), infinity])

    b = np.linalg.inv(powers(len(points) + 1)).T
    b[np.abs(b) < 1e-9] = 0  # zeros but for rounding
    scale = np.abs(b).max(axis=1, keepdims=True)
    return b / scale, powers(3) * scale, powers(_ROWS).T


# Points that are each other's inverses: the error is 1.7 times a direct sum's, with the usual
# 0, 1, -1, 2, -2 it is 2.4 times.
_B, _G, _A = _transforms((0, np.sqrt(0.5), -np.sqrt(0.5), np.sqrt(2), -np.sqrt(2)))

# Measured: in images of fewer pixels or channels the sums cost more than they save.
_LEAST_CHANNELS, _LEAST_PIXELS = 64, 1000
# Several images as channels cost little only if these are few.
_FEW = 8
# A result of more values does not fit in the caches with its operands. It is computed in blocks.
# Those of a weight gradient are smaller, because its operands are not read contiguously.
_MOST_VALUES = 2_400_000
_BLOCK_PIXELS, _GRADIENT_PIXELS = 8_000, 5_000


def suits(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether this is faster than a direct convolution on a CPU; arguments as of `convolve`."""
    tall, wide, channels, features = kernel.shape
    inner = tall == wide == 3 and channels >= _LEAST_CHANNELS
    first = tall > 3 and tall % 3 == 0 and channels < _FEW
    return (
        (inner or first)
        and x.dtype == jnp.float32
        and features >= _LEAST_CHANNELS
        and math.prod(x.shape[:3]) >= _LEAST_PIXELS
    )


def takes_blocks(x: jax.Array, kernel: jax.Array, padding: Padding = (0, 0)) -> bool:
    """Whether `convolve` computes its result in blocks."""
    pixels = x.shape[0] * math.prod(_size(x, kernel, padding))
    return pixels * max(kernel.shape[2:]) > _MOST_VALUES


def _size(x: jax.Array, kernel: jax.Array, padding: Padding) -> tuple[int, int]:
    """(H', W') of the result."""
    height, width = (
        side + 2 * around - taps + 1
        for side, around, taps in zip(x.shape[1:3], padding, kernel.shape[:2], strict=True)
    )
    return height, width


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    padding: Padding = (0, 0),
    finish: Finish = lambda y: y,
    *operands: jax.Array,
) -> jax.Array:
    """`finish(y, *operands)`, y being `direct.convolve` with a (kh, kw, C, D) kernel.

    For one device, without a gradient. Of a large result each block is finished while the caches
    hold it.

    Args:
        x, kernel, padding: see `direct.convolve`; kh is a multiple of 3.
        finish: elementwise; see `sr_jax.ops.conv.conv2d`.
        *operands: of its other arguments those with four axes go block by block.
    """
    n, features = x.shape[0], kernel.shape[3]
    height, width = _size(x, kernel, padding)
    if not takes_blocks(x, kernel, padding):
        return finish(_convolve(x, kernel, padding), *operands)

    images = group_size(n, height * width, _BLOCK_PIXELS)
    bands = -(-images * height * width // _BLOCK_PIXELS)
    rows = min(-(-height // (bands * _ROWS)) * _ROWS, height)
    bands = -(-height // rows)
    # Overwritten below. If it were zeros, XLA would allocate those of all layers at the start.
    y = jnp.broadcast_to(x[:1, :1, :1, :1], (n, height, width, features))
    needed = rows + kernel.shape[0] - 1
    if needed > x.shape[1]:
        x, padding = direct.pad(x, (padding[0], 0)), (0, padding[1])

    def block(i: jax.Array, y: jax.Array) -> jax.Array:
        # The last band starts where it stays inside the image.
        image, row = i // bands * images, jnp.minimum(i % bands * rows, height - rows)
        part = lax.dynamic_slice_in_dim(x, image, images)
        part = _convolve(_rows_around(part, row, needed, padding[0]), kernel, (0, padding[1]))
        start = (image, row, 0, 0)
        part = finish(
            part,
            *(o if o.ndim < 4 else lax.dynamic_slice(o, start, part.shape) for o in operands),
        )
        return lax.dynamic_update_slice(y, part, start)

    return lax.fori_loop(0, n // images * bands, block, y)


def _rows_around(x: jax.Array, row: jax.Array, size: int, padding: int) -> jax.Array:
    """What a band of a result is made of: `size` rows of (N, H, W, C), or zeros beyond.

    As the rows are cut out of the image before zeros are added, there is no copy of all of it.
    """
    start = jnp.clip(row - padding, 0, x.shape[1] - size)
    part = direct.pad(lax.dynamic_slice_in_dim(x, start, size, axis=1), (padding, 0))
    return lax.dynamic_slice_in_dim(part, row - start, size, axis=1)


def _convolve(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    x = lax.optimization_barrier(x)  # else its producer is computed six times
    tall, wide, channels, features = kernel.shape
    height, _ = _size(x, kernel, padding)
    rows = _rows(x, height, padding[0], tall + _ROWS - 1)
    starts = range(0, tall, 3)
    images = zip(*(_sums(_B, rows[start : start + _ROWS + 2]) for start in starts), strict=True)
    kernels = kernel.reshape(len(starts), 3, *kernel.shape[1:])
    kernels = jnp.einsum("mi,gi...->mg...", jnp.asarray(_G, kernel.dtype), kernels)
    kernels = kernels.swapaxes(1, 2).reshape(-1, 1, wide, len(starts) * channels, features)
    terms = [
        direct.convolve(jnp.concatenate(image, axis=-1), kernel, (0, padding[1]))
        for image, kernel in zip(images, kernels, strict=True)
    ]
    y = jnp.stack(_sums(_A, terms), axis=2)
    return y.reshape(x.shape[0], -1, *y.shape[3:])[:, :height]


def weight_gradient(x: jax.Array, y: jax.Array, padding: Padding = (0, 0)) -> jax.Array:
    """`direct.weight_gradient` to (C, 3, 3, D): the gradient of `convolve` by its kernel."""
    gradient = functools.partial(_weight_gradient, padding=padding)
    return sum_over_groups(gradient, x, y, _GRADIENT_PIXELS)


def gradient_suits(x: jax.Array, kernel: jax.Array, y: jax.Array) -> bool:
    """Whether `weight_gradient` is faster than the direct one.

    Args:
        x, kernel: as of `convolve`.
        y: the gradient of its result.
    """
    fits = y.shape[1] * y.shape[2] * max(x.shape[3], y.shape[3]) <= _MOST_VALUES
    return suits(x, kernel) and kernel.shape[0] == 3 and fits


def _weight_gradient(x: jax.Array, y: jax.Array, padding: Padding) -> jax.Array:
    height = y.shape[1]
    # In order for the convolutions below: (C, H, W, N) and (H, W, N, D).
    sides = ((0, 0), (0, 0), (padding[1], padding[1]), (0, 0))
    x, y = jnp.pad(x.transpose(3, 1, 2, 0), sides), y.transpose(1, 2, 0, 3)[None]
    x, y = lax.optimization_barrier((x, y))
    images = _sums(_B, _rows(x, height, padding[0], _ROWS + 2))
    kernels = _sums(_A.T, _rows(y, height, 0, _ROWS))
    images, kernels = lax.optimization_barrier((images, kernels))
    terms = [direct.convolve(x, y[0]) for x, y in zip(images, kernels, strict=True)]
    return jnp.concatenate(_sums(_G.T, terms), axis=1)


def _rows(x: jax.Array, height: int, padding: int, count: int) -> list[jax.Array]:
    """The rows from which each four of a result of this height are made.

    (N, H, ..), padded above and below -> `count` times (N, ceil(height / 4), ..).
    """
    blocks = -(-height // _ROWS)
    more = -(-count // _ROWS) - 1
    below = (blocks + more) * _ROWS - padding - x.shape[1]
    x = jnp.pad(x, ((0, 0), (padding, below), *[(0, 0)] * (x.ndim - 2)))
    x = x.reshape(x.shape[0], blocks + more, _ROWS, *x.shape[2:])
    return [x[:, i // _ROWS : i // _ROWS + blocks, i % _ROWS] for i in range(count)]


def _sums(matrix: np.ndarray, terms: Sequence[jax.Array]) -> list[jax.Array]:
    """The product of a matrix with a list of arrays."""
    return [
        functools.reduce(
            jnp.add,
            (float(factor) * term for factor, term in zip(row, terms, strict=True) if factor),
        )
        for row in matrix
    ]
