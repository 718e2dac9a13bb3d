"""Groups of a batch and bands of an image, so that what each reads fits in the caches."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from sr_jax.ops import direct
from sr_jax.ops.direct import Finish, Padding

# A result of more values does not fit in the caches with its operands. It is computed in blocks.
MOST_VALUES = 2_400_000
# Of a block: so many pixels, or for more rows at most so many values.
_PIXELS, _VALUES = 2**13, 1_400_000


def takes_blocks(x: jax.Array, kernel: jax.Array, padding: Padding) -> bool:
    """Whether a convolution is too large for the caches; arguments as of `direct.convolve`."""
    pixels = x.shape[0] * math.prod(result_size(x, kernel, padding))
    return pixels * max(kernel.shape[2:]) > MOST_VALUES


def result_size(x: jax.Array, kernel: jax.Array, padding: Padding) -> tuple[int, int]:
    """(H', W') of the result of `direct.convolve`."""
    height, width = (
        side + 2 * around - taps + 1
        for side, around, taps in zip(x.shape[1:3], padding, kernel.shape[:2], strict=True)
    )
    return height, width


def convolve_in_blocks(
    convolve: Callable[[jax.Array, jax.Array, Padding], jax.Array],
    x: jax.Array,
    kernel: jax.Array,
    padding: Padding,
    finish: Finish,
    *operands: jax.Array,
    unit: int = 1,
    wanted: int = 1,
) -> jax.Array:
    """`finish(convolve(x, kernel, padding), *operands)`, block by block.

    Each block is finished while the caches hold it. For one device, without a gradient.

    Args:
        convolve: `direct.convolve`, or what gives the same.
        x, kernel, padding: its arguments.
        finish: elementwise, see `sr_jax.ops.conv.conv2d`; or what makes so many rows of each row.
        *operands: of its other arguments those with four axes go block by block.
        unit: rows of a block are a multiple of it.
        wanted: rows of a block in a wide image, if they are not too many values.
    """
    n, features = x.shape[0], kernel.shape[3]
    height, width = result_size(x, kernel, padding)
    pixels = max(_PIXELS, min(wanted * width, _VALUES // max(kernel.shape[2:])))
    images = group_size(n, height * width, _PIXELS)
    most = max(pixels // width // unit, 1) * unit
    rows = min(-(-height // (-(-height // most) * unit)) * unit, height)
    bands = -(-height // rows)
    result = jax.ShapeDtypeStruct((n, height, width, features), x.dtype)
    result = jax.eval_shape(finish, result, *operands)
    rise = result.shape[1] // height
    # Overwritten below. If it were zeros, XLA would allocate those of all layers at the start.
    y = jnp.broadcast_to(x[:1, :1, :1, :1].astype(result.dtype), result.shape)
    needed = rows + kernel.shape[0] - 1
    if needed > x.shape[1]:
        x, padding = direct.pad(x, (padding[0], 0)), (0, padding[1])

    def block(i: jax.Array, y: jax.Array) -> jax.Array:
        # The last band starts where it stays inside the image.
        image, row = i // bands * images, jnp.minimum(i % bands * rows, height - rows)
        part = lax.dynamic_slice_in_dim(x, image, images)
        part = convolve(_rows_around(part, row, needed, padding[0]), kernel, (0, padding[1]))
        start = (image, row, 0, 0)
        part = finish(
            part,
            *(o if o.ndim < 4 else lax.dynamic_slice(o, start, part.shape) for o in operands),
        )
        return lax.dynamic_update_slice(y, part, (image, rise * row, 0, 0))

    return lax.fori_loop(0, n // images * bands, block, y)


def _rows_around(x: jax.Array, row: jax.Array, size: int, padding: int) -> jax.Array:
    """What a band of a result is made of: `size` rows of (N, H, W, C), or zeros beyond.

    As the rows are cut out of the image before zeros are added, there is no copy of all of it.
    """
    start = jnp.clip(row - padding, 0, x.shape[1] - size)
    part = direct.pad(lax.dynamic_slice_in_dim(x, start, size, axis=1), (padding, 0))
    return lax.dynamic_slice_in_dim(part, row - start, size, axis=1)


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
