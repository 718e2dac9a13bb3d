"""A network as a function of arrays in the host's memory: input sizes, precision, compilation."""

import contextlib
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sr_jax.inference.parts import in_bands, one_by_one
from sr_jax.inference.settings import Settings
from sr_jax.inference.sharded import OverDevices
from sr_jax.models import Variables, forward
from sr_jax.models.network import Network
from sr_jax.ops.target import compiler_options


def input_size(model: Network, height: int, width: int, scale: int) -> tuple[int, int]:
    """The size of a network's input for an image: interpolated for SRCNN and VDSR."""
    return (scale * height, scale * width) if model.takes_interpolated else (height, width)


def output_factor(model: Network, scale: int) -> int:
    """Output pixels of a pixel of the network's input, along a side."""
    return 1 if model.takes_interpolated else scale


def valid_side(model: Network, side: int) -> int:
    """The least side, from the given one up, that the network takes."""
    side = max(side, model.minimum_size)
    return side + -side % size_divisor(model)


def size_divisor(model: Network) -> int:
    """What the sides of the network's input are multiples of."""
    return model.size_divisor


def result_dtype(dtype: str) -> type[np.floating[Any]]:
    """In what results are kept: float32, but float64 for a computation in float64."""
    return np.float64 if dtype == "float64" else np.float32


def precision(dtype: str) -> contextlib.AbstractContextManager[Any]:
    """Inside it a computation of that dtype can be compiled and run: x64 mode for float64."""
    return jax.enable_x64(True) if dtype == "float64" else contextlib.nullcontext()


def count_devices(settings: Settings) -> int:
    """How many devices share an image."""
    return len(jax.local_devices()) if settings.shard else 1


@functools.cache
def compiled(model: Network, scale: int, dtype: str, devices: int) -> Any:
    """The forward pass as one jitted function, which compiles once for each shape.

    Args:
        model: the network.
        scale: see `sr_jax.models.forward`.
        dtype: of the computation; call, lower and compile within `precision(dtype)`.
        devices: that share every image by its rows (see `OverDevices`).

    Returns:
        (variables, (N, H, W, C)) -> (N, f * H, f * W, C), both arrays of `result_dtype`.
    """
    model = model.for_inference()

    def step(variables: Variables, images: jax.Array) -> jax.Array:
        result = forward(model, variables, images.astype(jnp.dtype(dtype)), scale=scale)
        return result.astype(result_dtype(dtype))

    if devices > 1:
        return OverDevices(step, output_factor(model, scale), devices)
    return jax.jit(one_by_one(in_bands(step, model)), compiler_options=compiler_options())
