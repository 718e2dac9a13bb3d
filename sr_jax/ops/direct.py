"""A convolution and its weight gradient, each as one XLA convolution."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

Padding = tuple[int, int]
Finish = Callable[..., jax.Array]


def pad(x: jax.Array, padding: Padding, mode: str = "constant") -> jax.Array:
    """Pads (N, H, W, C) above and below, left and right."""
    return jnp.pad(x, ((0, 0), *((each, each) for each in padding), (0, 0)), mode=mode)


conv = functools.partial(lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def convolve(
    x: jax.Array, kernel: jax.Array, padding: Padding = (0, 0), stride: int = 1
) -> jax.Array:
    """Cross-correlation of (N, H, W, C) with (kh, kw, C, D).

    Args:
        x, kernel: the operands.
        padding: zeros above and below, zeros left and right.
        stride: pixels from one result to the next.
    """
    return conv(x, kernel, (stride, stride), [(each, each) for each in padding])


def weight_gradient(x: jax.Array, y: jax.Array, padding: Padding = (0, 0)) -> jax.Array:
    """The gradient of `convolve` by its kernel, its axes in the order (C, kh, kw, D).

    Args:
        x: (N, H, W, C), what was convolved.
        y: (N, H', W', D), the gradient of the result.
        padding: that of the convolution.
    """
    x, y = x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)
    # The barrier keeps the zeros out of the convolution, which takes twice as long with them.
    x = lax.optimization_barrier(pad(x, padding))
    return convolve(x, y)
