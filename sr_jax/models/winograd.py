"""3x3 convolutions with 4 multiplications for every 9 (Winograd's F(2x2, 3x3)).

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1. With
its small transforms, of 0, 1 and 1/2, the result is as accurate as the direct sum's.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# Of 2x2 pixels of the output from 4x4 of the input: A' [(G k G') * (B' x B)] A.
_B = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1))
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_A = ((1, 1, 1, 0), (0, 1, -1, -1))

# Measured: a block of as many values stays in a core's cache on its way through the transforms.
# These cost more than they save in a convolution of fewer multiply-adds or channels; where blocks
# are cut out and put together, it takes more channels.
_BLOCK = 1_200_000
_LEAST_MULTIPLY_ADDS = 180_000_000
_LEAST_CHANNELS, _LEAST_CHANNELS_OF_BLOCKS = 64, 256


def suits(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether `convolve` is faster than a direct one on a CPU; shapes as it takes them."""
    values = x.size // x.shape[3] * max(kernel.shape[2:])
    least = _LEAST_CHANNELS if values < 1.2 * _BLOCK else _LEAST_CHANNELS_OF_BLOCKS
    return (
        kernel.shape[:2] == (3, 3)
        and x.dtype == jnp.float32
        and min(kernel.shape[2:]) >= least
        and x.size // x.shape[3] * kernel.size >= _LEAST_MULTIPLY_ADDS
    )


def convolve(x: jax.Array, kernel: jax.Array, padding: tuple[int, int] = (0, 0)) -> jax.Array:
    """Cross-correlation of (N, H, W, C) with (3, 3, C, D), stride 1.

    It works on blocks of images or rows, one after the other. For one device; its gradient is the
    caller's.

    Args:
        x, kernel: the operands.
        padding: zeros above and below, zeros left and right.
    """
    above, left = padding
    n, height, width, channels = x.shape
    height, width = height + 2 * above, width + 2 * left
    features = kernel.shape[3]
    tall, wide = -(-(height - 2) // 2), -(-(width - 2) // 2)  # in pairs of pixels
    pair = 4 * wide * max(channels, features)  # values of a pair of rows
    parts = -(-tall // max(1, _BLOCK // pair))  # of an image, of as many rows each
    rows = -(-tall // parts)
    images = max(i for i in range(1, n + 1) if n % i == 0 and (i - 1) * tall * pair < _BLOCK)
    weights = jnp.asarray(np.kron(_G, _G), kernel.dtype) @ kernel.reshape(9, -1)
    weights = weights.reshape(4, 4, channels, features)
    x = lax.optimization_barrier(x)  # else what made it is computed for each use of a pixel
    right, below = 2 * wide + 2 - width, 2 * parts * rows + 2 - height
    x = jnp.pad(x, ((0, 0), (above, above + below), (left, left + right), (0, 0)))

    def block(start: jax.Array) -> jax.Array:
        size = (images, 2 * rows + 2, *x.shape[2:])
        return _block(weights, lax.dynamic_slice(x, (start[0], start[1], 0, 0), size))

    if images == n and parts == 1:
        y = _block(weights, x)
    else:
        starts = [(i, 2 * rows * part) for i in range(0, n, images) for part in range(parts)]
        y = lax.map(block, jnp.array(starts))
        y = y.reshape(n // images, parts, images, *y.shape[2:]).swapaxes(1, 2)
    return y.reshape(n, -1, *y.shape[-2:])[:, : height - 2, : width - 2]


def _block(weights: jax.Array, x: jax.Array) -> jax.Array:
    """(N, 2 h + 2, 2 w + 2, C) -> (N, 2 h, 2 w, D)."""
    # The barriers are between what is read more than once and those who read it: fused, XLA would
    # compute it for each of them.
    n, height, width, channels = x.shape
    h, w = height // 2 - 1, width // 2 - 1
    rows = [lax.slice_in_dim(x, i, i + 2 * h - 1, 2, axis=1) for i in range(4)]
    x = lax.optimization_barrier(jnp.stack([_combine(b, rows) for b in _B]))
    columns = [lax.slice_in_dim(x, j, j + 2 * w - 1, 2, axis=3) for j in range(4)]
    tiles = [lax.optimization_barrier(_combine(b, columns)) for b in _B]
    products = [
        [
            lax.optimization_barrier(tiles[j][i].reshape(-1, channels) @ weights[i, j])
            for j in range(4)
        ]
        for i in range(4)
    ]
    result = [
        [_combine(a, [_combine(b, column) for column in zip(*products, strict=True)]) for a in _A]
        for b in _A
    ]
    pixels = jnp.stack([jnp.stack(row, axis=1) for row in result])  # (2, n h w, 2, D)
    pixels = pixels.reshape(2, n, h, w, 2, -1)
    return jnp.moveaxis(pixels, 0, 2).reshape(n, 2 * h, 2 * w, -1)


def _combine(factors: Sequence[int], terms: Sequence[jax.Array]) -> jax.Array:
    """The sum of the terms times 0, 1 or -1."""
    signed = (t if f > 0 else -t for f, t in zip(factors, terms, strict=True) if f)
    return functools.reduce(jnp.add, signed)
