"""A batch in groups of images, so that what a group reads fits in the caches."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax


def group_size(n: int, pixels: int, most: int) -> int:
    """How many of `n` images of this size make a group of at most `most` pixels; one at least.

    >>> group_size(16, 24 * 24, 5000)
    8
    """
    return max(i for i in range(1, n + 1) if n % i == 0 and (i == 1 or i * pixels <= most))


def sum_over_groups(
    function: Callable[[jax.Array, jax.Array], jax.Array], x: jax.Array, y: jax.Array, most: int
) -> jax.Array:
    """`function(x, y)`, which is a sum over the images of a batch, group by group.

    Args:
        function: (N, H, W, C) and (N, H', W', D) -> an array without an axis for images.
        x, y: its arguments.
        most: pixels of `y` in a group.
    """
    n, height, width, _ = y.shape
    images = group_size(n, height * width, most)
    if images == n:
        return function(x, y)

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        group = (lax.dynamic_slice_in_dim(array, i * images, images) for array in (x, y))
        return total + function(*group)

    total = jax.eval_shape(function, x, y)
    return lax.fori_loop(0, n // images, add, jnp.zeros(total.shape, total.dtype))
