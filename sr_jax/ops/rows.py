"""One image over several devices, each of which holds a part of its rows.

Networks are written for whole images. Where the caller sets a mesh with the axis `AXIS` around
their compilation (`jax.set_mesh`), XLA's partitioner splits convolutions, means and products by
rows and exchanges what they need of each other, even where the devices do not divide the height.
Operations that it would gather on every device use the functions of this module. Without such a
mesh these do nothing.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

AXIS = "rows"
_BY_DEVICE = PartitionSpec(None, AXIS)


def image_devices() -> int:
    """Over how many devices an image is split by rows."""
    return jax.sharding.get_abstract_mesh().shape.get(AXIS, 1)


def split(x: jax.Array) -> jax.Array:
    """The same (N, H, W, C), its rows split evenly over the devices.

    It is for parts of an image, which would otherwise stay on the devices that hold them.
    """
    return x if image_devices() == 1 else lax.with_sharding_constraint(x, _BY_DEVICE)


def flatten(x: jax.Array) -> jax.Array:
    """(N, H, W, C) -> (N, H * W, C), the pixels split evenly over the devices."""
    n, height, width, channels = x.shape
    if image_devices() > 1:
        x = split(_even_parts(x)[0])
    return split(split(x.reshape(n, -1, channels))[:, : height * width])


def by_quadrants(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Applies a function that keeps the size of (N, H, W, C) to each quadrant by itself."""
    middle, centre = x.shape[1] // 2, x.shape[2] // 2
    upper, lower = (
        jnp.concatenate([function(half[:, :, :centre]), function(half[:, :, centre:])], axis=2)
        for half in (split(x[:, :middle]), split(x[:, middle:]))
    )
    return split(jnp.concatenate([upper, lower], axis=1))


def by_rows(
    function: Callable[..., jax.Array], x: jax.Array, *whole: jax.Array, multiple: int = 1
) -> jax.Array:
    """Applies a function to independent groups of `multiple` rows, on each device to its own rows.

    Args:
        function: (N, R, W, C) and what `whole` holds -> (N, R', W', C'), R' in proportion to R.
        x: (N, H, W, C), H a multiple of `multiple`.
        *whole: arrays that every device takes whole.
        multiple: rows of a group, which stay together on one device.

    Returns:
        What `function(x, *whole)` returns.
    """
    if image_devices() == 1:
        return function(x, *whole)
    return by_rows_with_halo(lambda x, _, *whole: function(x, *whole), x, *whole, multiple=multiple)


def by_rows_with_halo(
    function: Callable[..., jax.Array],
    x: jax.Array,
    *whole: jax.Array,
    halo: int = 0,
    multiple: int = 1,
) -> jax.Array:
    """As `by_rows`, for a function that also reads some rows above and below its own.

    Args:
        function: (N, halo + R + halo, W, C), the number of the first of the R rows, and what
            `whole` holds -> (N, R', W', C'), R' in proportion to R. Beyond the image there are
            zeros.
        x: (N, H, W, C), H a multiple of `multiple`.
        *whole: arrays that every device takes whole.
        halo: rows read above and below.
        multiple: rows of a group, which stay together on one device.

    Returns:
        (N, H', W', C'), H' in the same proportion to H.
    """
    if image_devices() == 1:
        return function(jnp.pad(x, ((0, 0), (halo, halo), (0, 0), (0, 0))), 0, *whole)
    # A neighbour's halo must come from one device.
    padded, rows = _even_parts(x, multiple, halo)

    def part(x: jax.Array, *whole: jax.Array) -> jax.Array:
        if halo:
            down = [(i, i + 1) for i in range(image_devices() - 1)]
            above = lax.ppermute(x[:, -halo:], AXIS, down)
            below = lax.ppermute(x[:, :halo], AXIS, [(b, a) for a, b in down])
            x = jnp.concatenate([above, x, below], axis=1)
        return function(x, lax.axis_index(AXIS) * rows, *whole)

    in_specs = (_BY_DEVICE, *(PartitionSpec(),) * len(whole))
    y = jax.shard_map(part, in_specs=in_specs, out_specs=_BY_DEVICE)(padded, *whole)
    return split(y[:, : x.shape[1] * y.shape[1] // padded.shape[1]])


def _even_parts(x: jax.Array, multiple: int = 1, least: int = 1) -> tuple[jax.Array, int]:
    """(N, H, W, C) with zeros below, and the rows of each device, multiples of `multiple`."""
    height = x.shape[1]
    rows = multiple * -(-max(least, -(-height // image_devices())) // multiple)
    below = rows * image_devices() - height
    return jnp.pad(x, ((0, 0), (0, below), (0, 0), (0, 0))), rows
