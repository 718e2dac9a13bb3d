"""A network as a compiled function of arrays in the host's memory: sizes, dtype, compilation."""

import contextlib
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sr_jax.inference.canvas import Canvases, on_canvas
from sr_jax.inference.chunks import Step, chunk_batch, chunk_rows
from sr_jax.inference.settings import Settings
from sr_jax.inference.sharded import RowSharded
from sr_jax.memory import keep_freed
from sr_jax.models import Variables, forward
from sr_jax.models.network import Network
from sr_jax.ops.target import compiler_options

# A program takes some megabytes of memory, and every size of image is another program.
MOST_PROGRAMS = 32


def input_size(model: Network, height: int, width: int, scale: int) -> tuple[int, int]:
    """The size of a network's input for an image: interpolated for SRCNN and VDSR."""
    return (scale * height, scale * width) if model.takes_interpolated else (height, width)


def output_factor(model: Network, scale: int) -> int:
    """Output pixels of a pixel of the network's input, along a side."""
    return 1 if model.takes_interpolated else scale


def valid_side(model: Network, side: int) -> int:
    """The least side, from the given one up, that the network takes."""
    side = max(side, model.minimum_size)
    return side + -side % model.size_divisor


def result_dtype(dtype: str) -> type[np.floating[Any]]:
    """The dtype of results: float32, but float64 for a computation in float64."""
    return np.float64 if dtype == "float64" else np.float32


def precision(dtype: str) -> contextlib.AbstractContextManager[Any]:
    """Inside it a computation of that dtype can be compiled and run: x64 mode for float64."""
    return jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext()


def count_devices(settings: Settings) -> int:
    """How many devices share an image."""
    return len(jax.local_devices()) if settings.shard else 1


def jitted(model: Network, scale: int, dtype: str, devices: int, *, canvas: bool = False) -> Any:
    """The forward pass as a new jitted function.

    Args:
        model: the network.
        scale: see `sr_jax.models.forward`.
        dtype: of the computation; call, lower and compile within `precision(dtype)`.
        devices: that share every image by its rows (see `RowSharded`).
        canvas: whether images fill a part of their array; on one device.

    Returns:
        (variables, (N, H, W, C)) -> (N, f * H, f * W, C), both arrays of `result_dtype`; with
        `canvas` it takes `Canvases` in place of the array.
    """
    model = model.for_inference()

    def canvas_step(variables: Variables, images: Canvases) -> jax.Array:
        images = images._replace(pixels=images.pixels.astype(jnp.dtype(dtype)))
        return on_canvas(model, variables, images, scale=scale).astype(result_dtype(dtype))

    if canvas:
        return _chunked(canvas_step, model)

    def step(variables: Variables, images: jax.Array) -> jax.Array:
        result = forward(model, variables, images.astype(jnp.dtype(dtype)), scale=scale)
        return result.astype(result_dtype(dtype))

    if devices > 1:
        return RowSharded(step, output_factor(model, scale), devices)
    return _chunked(step, model)


def _chunked(step: Step, model: Network) -> Any:
    keep_freed()
    return jax.jit(chunk_batch(chunk_rows(step, model)), compiler_options=compiler_options())


@functools.lru_cache(maxsize=MOST_PROGRAMS)
def compiled(
    model: Network,
    scale: int,
    dtype: str,
    devices: int,
    shape: tuple[int, ...],
    canvas: bool,
    /,
) -> Any:
    """`jitted` for images (N, H, W, C) of one shape, which compiles when it is first called.

    The last `MOST_PROGRAMS` are kept. One that is dropped frees its memory, as a function that was
    jitted for all shapes would not.
    """
    return jitted(model, scale, dtype, devices, canvas=canvas)
