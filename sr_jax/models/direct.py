"""A convolution of stride 1 and its weight gradient, each as one XLA convolution."""

import jax
import jax.numpy as jnp
from jax import lax

Sides = tuple[int, int]


def surround(x: jax.Array, padding: Sides, mode: str = "constant") -> jax.Array:
    """Pads (N, H, W, C) above and below, left and right."""
    return jnp.pad(x, ((0, 0), *((each, each) for each in padding), (0, 0)), mode=mode)


def convolve(x: jax.Array, kernel: jax.Array, padding: Sides = (0, 0)) -> jax.Array:
    """Cross-correlation of (N, H, W, C) with (kh, kw, C, D).

    Args:
        x, kernel: the operands.
        padding: zeros above and below, zeros left and right.
    """
    borders = tuple((each, each) for each in padding)
    return lax.conv_general_dilated(
        x, kernel, (1, 1), borders, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def correlate(x: jax.Array, y: jax.Array, padding: Sides = (0, 0)) -> jax.Array:
    """(N, H, W, C) and (N, H', W', D) -> (C, .., .., D): sums over the images and all of `y`."""
    x, y = x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)
    # The barrier keeps the zeros out of the convolution, which takes twice as long with them.
    x = lax.optimization_barrier(surround(x, padding))
    return convolve(x, y)
