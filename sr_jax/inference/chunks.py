"""A forward pass over chunks that a CPU's caches hold: an image of a batch, or a band of rows.

experiments/throughput/NOTES.md has what that was measured to win.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sr_jax.inference.canvas import Canvases, band
from sr_jax.models import Variables
from sr_jax.models.network import Network
from sr_jax.ops.target import platform

# The images are an array (N, H, W, C) or `Canvases`.
Step = Callable[[Variables, Any], jax.Array]

# The number of bands is fixed, not their height: memory is then in proportion to the pixels, as
# `cost` assumes. In an image of fewer rows the halo would be too large a part of a band.
_BANDS = 4
_LEAST_ROWS = 192


def chunk_batch(step: Step) -> Step:
    """A forward pass that takes the images of a batch one after the other on a CPU."""

    def run(variables: Variables, images: Any) -> jax.Array:
        if platform() != "cpu" or len(jax.tree.leaves(images)[0]) == 1:
            return step(variables, images)
        alone = functools.partial(jax.tree.map, lambda x: x[None])
        return lax.map(lambda image: step(variables, alone(image))[0], images)

    return run


def chunk_rows(step: Step, model: Network) -> Step:
    """A forward pass that takes an image in bands of rows on a CPU.

    Only for a network that does not upscale and has a small receptive field (SRCNN). A band is
    computed with the rows around it that it depends on: the result is that of the whole image.
    """
    halo = model.receptive_radius
    if halo is None or 16 * halo > _LEAST_ROWS or not model.takes_interpolated:
        return step

    def run(variables: Variables, images: jax.Array | Canvases) -> jax.Array:
        pixels = images.pixels if isinstance(images, Canvases) else images
        height = pixels.shape[1]
        if platform() != "cpu" or height < _LEAST_ROWS:
            return step(variables, images)
        rows = -(-height // _BANDS)

        def one_band(i: jax.Array, result: jax.Array) -> jax.Array:
            # The last band, and a halo at the border, move up or down to stay inside the image.
            first = jnp.minimum(i * rows, height - rows)
            top = jnp.clip(first - halo, 0, height - rows - 2 * halo)
            with_halo = rows + 2 * halo
            seen = (
                band(images, top, with_halo)
                if isinstance(images, Canvases)
                else lax.dynamic_slice_in_dim(images, top, with_halo, axis=1)
            )
            part = lax.dynamic_slice_in_dim(step(variables, seen), first - top, rows, axis=1)
            return lax.dynamic_update_slice_in_dim(result, part, first, axis=1)

        return lax.fori_loop(0, _BANDS, one_band, jnp.zeros_like(pixels))

    return run
