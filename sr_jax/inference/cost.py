"""What images cost in memory, and what this machine has for them."""

import functools
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil

from sr_jax.inference.canvas import Canvases
from sr_jax.inference.program import (
    compiled,
    count_devices,
    input_size,
    jitted,
    output_factor,
    precision,
    result_dtype,
    valid_side,
)
from sr_jax.inference.settings import STEP, Settings
from sr_jax.memory import available_memory
from sr_jax.models import Variables, multiply_adds
from sr_jax.models.network import Network

# The share of the available memory that the network's program may take by the compiler's figures.
# On a CPU these leave out the scratch space of convolutions, which can take as much again (3.3 GB
# in all where input and output of a 5 x 5 convolution from 64 to 32 channels have 1.6 GB); images
# and results lie in the same memory, and other programs.
CPU_SHARE = 0.25
ACCELERATOR_SHARE = 0.8

# XLA:CPU's convolutions ask at once for so many bytes a pixel of the largest feature maps (two
# slices of 288 to 320 float32 of every patch). They use little of it, but an operating system
# refuses more than its RAM, and the process then ends without an exception.
CPU_SCRATCH = 2560

_SMALL = 512 * 512  # pixels of an image that is taken to fit, or whose program is asked first

# Sides at which the compiler is asked for memory. It is linear in the pixels only where the blocks
# of attention are full, from about 160 on, and convolutions are in blocks, from about 380 on.
# Compiling takes no longer for larger images.
_PROBES = (384, 512)


def predict_memory(
    model: Network,
    variables: Variables,
    tile: tuple[int, int],
    scale: int,
    settings: Settings = Settings(),
) -> int:
    """Bytes of the network's program on a batch of tiles: variables, tiles, results, temporaries.

    Of a program that several devices share, the bytes on each.

    The compiler says what two small programs need. From there on memory grows in proportion to
    the pixels, also in networks with attention, which works in blocks.

    Args:
        model: the network.
        variables: its variables, of which only the shapes matter.
        tile: (height, width) in pixels of the network's input.
        scale: the network's factor.
        settings: of which dtype, batch and shard matter.
    """
    fixed, per_pixel = _program_memory(model, variables, scale, settings)
    return math.ceil(fixed + per_pixel * math.prod(tile))


def host_memory(model: Network, height: int, width: int, scale: int, settings: Settings) -> int:
    """Bytes of arrays on the host at most, for an RGB image of 16 bits."""
    item = np.dtype(result_dtype(settings.dtype)).itemsize
    # Of an output pixel: the result and its rounding; in luma networks also what bicubic
    # interpolation of one channel holds in float64, before the rounding.
    bytes_per_pixel = 3 * item + (20 if model.n_colors == 1 else 6)
    factor = output_factor(model, scale)
    grid = math.prod(input_size(model, height, width, scale)) * factor**2
    return height * width * 3 * (item + 2) + bytes_per_pixel * grid


def largest_tile(
    model: Network, variables: Variables, scale: int, settings: Settings
) -> tuple[int, int, str]:
    """The largest square tile that fits, its side a multiple of 32.

    Returns:
        Its side, the number of pixels that fit in any shape, and what they follow from.

    Raises:
        ValueError: not enough memory for any tile.
    """
    budget, limit = _budget(settings)
    fixed, per_pixel = _program_memory(model, variables, scale, settings)
    pixels = max(0, int((budget - fixed) / per_pixel))
    most = _most_pixels(model, scale, settings)
    if most < pixels:
        pixels, limit = int(most), "what XLA:CPU's convolutions can take on this machine"
    side = math.isqrt(pixels) // STEP * STEP
    if side < STEP:
        least = predict_memory(model, variables, (STEP, STEP), scale, settings)
        raise ValueError(
            f"not enough memory: a tile of {STEP} pixels a side takes {least / 2**20:.0f} MiB, "
            f"there are {limit}; give a tile, or a smaller batch"
        )
    return side, pixels, f"a square of {side} is the largest in {limit}"


def fits_small(
    model: Network,
    variables: Variables,
    size: tuple[int, int],
    scale: int,
    settings: Settings,
    *,
    canvas: bool = False,
) -> str:
    """In what an image of this (height, width) fits as a whole, by the program that will run it.

    That program is compiled anyway where the image fits, while `largest_tile` compiles two others.
    Larger images are not tried.

    Returns:
        The memory in words; empty where the image is larger, or does not fit.
    """
    if math.prod(size) > min(_SMALL, _most_pixels(model, scale, settings)):
        return ""
    views = (8 if size[0] == size[1] else 4) if settings.ensemble else 1
    batch = min(settings.batch, views)
    shape = (batch, *size, model.n_colors)
    images: Any = jax.ShapeDtypeStruct(shape, result_dtype(settings.dtype))
    if canvas:
        sizes: Any = jax.ShapeDtypeStruct((batch, 2), np.int32)
        images = Canvases(images, sizes)
    function = compiled(model, scale, settings.dtype, 1, shape, canvas)
    budget, limit = _budget(settings)
    needed = _bytes(function, variables, images, settings.dtype)
    return limit if needed <= budget else ""


def measure_rate(model: Network, variables: Variables, scale: int, settings: Settings) -> float:
    """Multiply-adds a second of the network on this machine: a tile of 64 pixels is run twice.

    Args:
        model, variables: the network.
        scale: its factor.
        settings: of which dtype and batch matter.
    """
    side = valid_side(model, 2 * STEP)
    shape = settings.batch, side, side, model.n_colors
    images = np.full(shape, 0.5, result_dtype(settings.dtype))
    function = jitted(model, scale, settings.dtype, 1)
    with precision(settings.dtype):
        jax.block_until_ready(function(variables, images))
        start = time.perf_counter()
        jax.block_until_ready(function(variables, images))
        seconds = time.perf_counter() - start
    return settings.batch * multiply_adds(model, side, side, scale) / seconds


def fits_whole(
    model: Network, variables: Variables, size: tuple[int, int], scale: int, settings: Settings
) -> bool:
    """Whether an image of this (height, width) at the network's input can run in one piece.

    It may take more of the memory than an automatic tile does. Nothing is compiled for images that
    are small anyway.
    """
    pixels = math.prod(size)
    if pixels > _most_pixels(model, scale, settings):
        return False
    if pixels <= _SMALL:
        return True
    needed = predict_memory(model, variables, size, scale, settings)
    if jax.default_backend() == "cpu":
        needed = 2 * needed  # see CPU_SHARE
    return needed <= available_memory()


def check_tile(model: Network, tile: tuple[int, int], scale: int, settings: Settings) -> None:
    """Raises ValueError for a (height, width) that XLA:CPU cannot take on this machine."""
    most = _most_pixels(model, scale, settings)
    if math.prod(tile) > most:
        raise ValueError(
            f"{tile[1]} x {tile[0]} pixels at once are more than XLA:CPU's convolutions can take "
            f"on this machine; give a tile of at most {math.isqrt(int(most)) // STEP * STEP}"
        )


@functools.cache
def memory_budget() -> tuple[int, str]:
    """Bytes that the network's program may take, and the same in words.

    Asked once a process: with another budget for every image, each would be compiled anew.
    """
    share = CPU_SHARE if jax.default_backend() == "cpu" else ACCELERATOR_SHARE
    available = available_memory()
    return int(share * available), f"{share:.0%} of {available / 2**30:.1f} GiB available"


def _budget(settings: Settings) -> tuple[int, str]:
    """`memory_budget`, or less where arrays would have too many values for 32-bit indices."""
    budget, limit = memory_budget()
    # A program holds at least two arrays of its largest size at once; libraries of convolutions
    # index with 32 bits.
    indexed = 2 * 2**31 * jnp.dtype(settings.dtype).itemsize
    if indexed < budget:
        return indexed, f"{indexed / 2**30:.0f} GiB, what 32-bit indices reach"
    return budget, limit


def _most_pixels(model: Network, scale: int, settings: Settings) -> float:
    """Pixels of a tile beyond which XLA:CPU's convolutions ask for more than this machine has."""
    if jax.default_backend() != "cpu":
        return math.inf
    each = CPU_SCRATCH * settings.batch * output_factor(model, scale) ** 2
    return count_devices(settings) * psutil.virtual_memory().total // each


def _program_memory(
    model: Network, variables: Variables, scale: int, settings: Settings
) -> tuple[float, float]:
    leaves, structure = jax.tree.flatten(variables)
    shapes = tuple(jax.ShapeDtypeStruct(np.shape(leaf), leaf.dtype) for leaf in leaves)
    devices = count_devices(settings)
    return _probe(model, structure, shapes, scale, settings.dtype, settings.batch, devices)


@functools.cache
def _probe(
    model: Network,
    structure: Any,
    shapes: tuple[Any, ...],
    scale: int,
    dtype: str,
    batch: int,
    devices: int,
) -> tuple[float, float]:
    """Bytes of the program: the part that no image changes, and those for a pixel of a tile."""
    variables = jax.tree.unflatten(structure, shapes)
    function = jitted(model, scale, dtype, devices)
    pixels, needed = [], []
    for probe in _PROBES:
        # Larger where devices share it: attention must have full blocks on each.
        side = valid_side(model, probe * math.ceil(math.sqrt(devices)))
        images = jax.ShapeDtypeStruct((batch, side, side, model.n_colors), result_dtype(dtype))
        pixels.append(side * side)
        needed.append(_bytes(function, variables, images, dtype))
    per_pixel = (needed[1] - needed[0]) / (pixels[1] - pixels[0])
    return max(0.0, needed[0] - per_pixel * pixels[0]), per_pixel


def _bytes(function: Any, variables: Variables, images: Any, dtype: str) -> int:
    """What the compiler says that a program takes."""
    with precision(dtype):
        analysis = function.lower(variables, images).compile().memory_analysis()
    parts = "argument", "output", "temp"
    return sum(getattr(analysis, f"{part}_size_in_bytes") for part in parts)
