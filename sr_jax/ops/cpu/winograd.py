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
from sr_jax.ops.cpu.blocks import MOST_VALUES, result_size, sum_over_groups
from sr_jax.ops.direct import Padding

ROWS = 4


def _transforms(points: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(B', G, A') of Toom and Cook's interpolation at these points and infinity."""

    def powers(count: int) -> np.ndarray:
        infinity = np.eye(count)[-1:]
        return np.concatenate([np.vander(points, count, increasing=True), infinity])

    b = np.linalg.inv(powers(len(points) + 1)).T
    b[np.abs(b) < 1e-9] = 0  # zeros but for rounding
    scale = np.abs(b).max(axis=1, keepdims=True)
    return b / scale, powers(3) * scale, powers(ROWS).T


# Points that are each other's inverses: the error is 1.7 times a direct sum's, with the usual
# 0, 1, -1, 2, -2 it is 2.4 times.
_B, _G, _A = _transforms((0, np.sqrt(0.5), -np.sqrt(0.5), np.sqrt(2), -np.sqrt(2)))

# Measured: in images of fewer pixels or channels the sums cost more than they save.
_LEAST_CHANNELS, _LEAST_PIXELS = 64, 500
# Several images as channels cost little only if these are few.
_FEW = 8
# Of a group of images in a weight gradient, whose operands are not read contiguously.
_GRADIENT_PIXELS = 5_000


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


def convolve(x: jax.Array, kernel: jax.Array, padding: Padding = (0, 0)) -> jax.Array:
    """`direct.convolve` with a (kh, kw, C, D) kernel whose kh is a multiple of 3.

    For one device, without a gradient.
    """
    x = lax.optimization_barrier(x)  # else its producer is computed six times
    tall, wide, channels, features = kernel.shape
    height, _ = result_size(x, kernel, padding)
    rows = _rows(x, height, padding[0], tall + ROWS - 1)
    starts = range(0, tall, 3)
    images = zip(*(_sums(_B, rows[start : start + ROWS + 2]) for start in starts), strict=True)
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
    fits = y.shape[1] * y.shape[2] * max(x.shape[3], y.shape[3]) <= MOST_VALUES
    return suits(x, kernel) and kernel.shape[0] == 3 and fits


def _weight_gradient(x: jax.Array, y: jax.Array, padding: Padding) -> jax.Array:
    height = y.shape[1]
    # In order for the convolutions below: (C, H, W, N) and (H, W, N, D).
    sides = ((0, 0), (0, 0), (padding[1], padding[1]), (0, 0))
    x, y = jnp.pad(x.transpose(3, 1, 2, 0), sides), y.transpose(1, 2, 0, 3)[None]
    x, y = lax.optimization_barrier((x, y))
    images = _sums(_B, _rows(x, height, padding[0], ROWS + 2))
    kernels = _sums(_A.T, _rows(y, height, 0, ROWS))
    images, kernels = lax.optimization_barrier((images, kernels))
    terms = [direct.convolve(x, y[0]) for x, y in zip(images, kernels, strict=True)]
    return jnp.concatenate(_sums(_G.T, terms), axis=1)


def _rows(x: jax.Array, height: int, padding: int, count: int) -> list[jax.Array]:
    """The rows from which each four of a result of this height are made.

    (N, H, ..), padded above and below -> `count` times (N, ceil(height / 4), ..).
    """
    blocks = -(-height // ROWS)
    more = -(-count // ROWS) - 1
    below = (blocks + more) * ROWS - padding - x.shape[1]
    x = jnp.pad(x, ((0, 0), (padding, below), *[(0, 0)] * (x.ndim - 2)))
    x = x.reshape(x.shape[0], blocks + more, ROWS, *x.shape[2:])
    return [x[:, i // ROWS : i // ROWS + blocks, i % ROWS] for i in range(count)]


def _sums(matrix: np.ndarray, terms: Sequence[jax.Array]) -> list[jax.Array]:
    """The product of a matrix with a list of arrays."""
    return [
        functools.reduce(
            jnp.add,
            (float(factor) * term for factor, term in zip(row, terms, strict=True) if factor),
        )
        for row in matrix
    ]
