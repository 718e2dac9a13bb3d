"""Images of many sizes in the corner of one array, their canvas: one program for all of them.

Every convolution sees zeros beyond the image, or its repeated edge, as at the border of an array.
So the result inside the image is what the image gives by itself.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sr_jax.models import Variables, check_call
from sr_jax.models.layers import Conv
from sr_jax.models.network import Network
from sr_jax.ops.target import kept_loops


class Canvases(NamedTuple):
    """Images on canvases of one size, each in the upper left corner.

    Attributes:
        pixels: (N, H, W, C).
        sizes: (height, width) of each image, (N, 2).
    """

    pixels: jax.Array | np.ndarray
    sizes: jax.Array | np.ndarray


def on_canvas(model: Network, variables: Variables, canvases: Canvases, *, scale: int) -> jax.Array:
    """As `sr_jax.models.forward`, for images that fill a part of their array.

    Args:
        model: a network with `pads_in_conv`.
        variables: its variables.
        canvases: the images.
        scale: as `forward` takes it.

    Returns:
        (N, f * H, f * W, C), of which what lies beyond f times an image's size means nothing.

    Raises:
        ValueError: as `forward` does.
    """
    images, sizes = canvases
    check_call(model, images.shape, images.dtype, scale)

    def pad_beyond(
        call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        layer = context.module
        called = isinstance(layer, Conv) and context.method_name == "__call__"
        if called and layer.kernel_size > 1:
            factor = args[0].shape[1] // images.shape[1]
            args = (_pad(args[0], factor * sizes, layer.padding), *args[1:])
        return call(*args, **kwargs)

    # Not through `forward`, whose trace jit would serve outside the interceptor too.
    with nn.intercept_methods(pad_beyond), kept_loops():
        result: Any = model.apply(variables, images, scale=scale, train=False)
    return result


def paste(images: np.ndarray, size: tuple[int, int]) -> Canvases:
    """Images (N, h, w, C) on canvases of that (height, width), with zeros around them."""
    missing = [(0, full - side) for full, side in zip(size, images.shape[1:3], strict=True)]
    sizes = np.full((len(images), 2), images.shape[1:3], np.int32)
    return Canvases(np.pad(images, ((0, 0), *missing, (0, 0))), sizes)


def band(canvases: Canvases, top: jax.Array, rows: int) -> Canvases:
    """So many rows of all canvases, from `top` on; the images may end above or within them."""
    pixels = lax.dynamic_slice_in_dim(canvases.pixels, top, rows, axis=1)
    return Canvases(pixels, canvases.sizes - jnp.stack([top, jnp.zeros_like(top)]))


def _pad(x: jax.Array, sizes: jax.Array, padding: str) -> jax.Array:
    """(N, H, W, C) with zeros, or the last row and column, beyond the (height, width) of each."""
    axes = [jnp.minimum(jnp.arange(x.shape[axis]), sizes[:, axis - 1, None] - 1) for axis in (1, 2)]
    if padding == "replicate":
        x = jnp.take_along_axis(x, axes[0][:, :, None, None], axis=1)
        return jnp.take_along_axis(x, axes[1][:, None, :, None], axis=2)
    inside = [jnp.arange(x.shape[axis]) == index for axis, index in zip((1, 2), axes, strict=True)]
    return jnp.where(inside[0][:, :, None, None] & inside[1][:, None, :, None], x, 0)
