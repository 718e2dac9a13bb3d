"""Which tiles an image is cut into, and what they will cost in memory and arithmetic."""

import functools
import math
import os
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sr_jax.inference.memory import memory_at_hand
from sr_jax.inference.network import (
    compiled,
    count_devices,
    input_size,
    output_factor,
    precision,
    result_dtype,
    size_divisor,
    valid_side,
)
from sr_jax.inference.settings import Settings
from sr_jax.inference.tiling import tile_starts
from sr_jax.models import Variables, describe_model, multiply_adds
from sr_jax.models.network import Network

# Of the memory at hand, what the network's program may take by the compiler's figures. On a CPU
# these leave out the scratch space of convolutions, which can take as much again (3.3 GB in all
# where input and output of a 5 x 5 convolution from 64 to 32 channels have 1.6 GB); images and
# results lie in the same memory, and other programs.
CPU_SHARE = 0.25
ACCELERATOR_SHARE = 0.8

# XLA:CPU's convolutions ask at once for so many bytes a pixel of the largest feature maps (two
# slices of 288 to 320 float32 of every patch). They hardly touch them, but an operating system
# refuses what is more than its RAM, and then the process ends without an exception.
CPU_SCRATCH = 2560

STEP = 32  # sides of automatic tiles and of buckets are multiples of it

FEW_SIZES = 8  # so many compilations are worth the wait: images of no more sizes run whole
MOST_PROGRAMS = 64  # that are compiled for images of many sizes, if there is a way
SHORTEST_TILE = 128  # least side of a tile that many sizes share, of which overlaps leave half
# Multiply-adds in the time that a program takes to compile: 1 s at 50 G a second (EDSR-baseline on
# 2 cores), 5 s at 20 T a second.
CPU_COMPILATION = 5e10
ACCELERATOR_COMPILATION = 1e14

# Sides at which the compiler is asked for memory. Attention in blocks is linear in the pixels only
# from about 160 on, where its blocks are full; compiling takes no longer for larger images.
_PROBES = (192, 256)


class Layout(NamedTuple):
    """How an image is cut.

    Attributes:
        size: (height, width) of the network's input, extended to what the network takes.
        tile: (height, width) of every tile.
        overlap: what a tile sees beyond its part, in input pixels.
        ramp: over how many input pixels neighbours fade into each other.
        reason: what the tile's size follows from.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    overlap: int
    ramp: int
    reason: str


class Plan(NamedTuple):
    """What an image will cost.

    Attributes:
        tile: (height, width) of a tile, in pixels of the network's input.
        tiles: how many go through the network, those of all symmetries together.
        device_memory: bytes that the network's program takes, the variables included; where
            several devices share the image, on each of them.
        host_memory: bytes of the arrays around it at most: image, results, rounding. On a CPU both
            come out of the same memory.
        multiply_adds: of all tiles.
        reason: what the tile's size follows from.
        devices: how many share the image.
    """

    tile: tuple[int, int]
    tiles: int
    device_memory: int
    host_memory: int
    multiply_adds: int
    reason: str
    devices: int


def plan(
    model: Network,
    variables: Variables,
    height: int,
    width: int,
    scale: int,
    settings: Settings = Settings(),
) -> Plan:
    """Predicts what `upscale_image` will do with an image, without running the network.

    Args:
        model: the network.
        variables: its variables, of which only the shapes matter.
        height, width: of the image.
        scale: the network's factor.
        settings: how the image goes through the network.

    Raises:
        ValueError: see `layout`.
    """
    size = input_size(model, height, width, scale)
    cut = layout(model, variables, size, scale, settings)
    divisor = size_divisor(model)
    tiles = math.prod(
        len(tile_starts(length, tile, cut.overlap, divisor))
        for length, tile in zip(cut.size, cut.tile, strict=True)
    )
    tiles *= 8 if settings.ensemble else 1
    return Plan(
        cut.tile,
        tiles,
        predict_memory(model, variables, cut.tile, scale, settings),
        _host_memory(model, height, width, scale, settings),
        tiles * multiply_adds(model, *cut.tile, scale),
        cut.reason,
        count_devices(settings),
    )


def layout(
    model: Network,
    variables: Variables,
    size: tuple[int, int],
    scale: int,
    settings: Settings,
) -> Layout:
    """How a network's input is cut into tiles.

    Args:
        model: the network.
        variables: its variables, of which only the shapes matter.
        size: (height, width) of the network's input (see `input_size`).
        scale: the network's factor.
        settings: how the image goes through the network.

    Raises:
        ValueError: tiles as large as the overlaps on their sides, not enough memory for any tile,
            tiles or a whole image beyond what XLA:CPU can take on this machine, or an exact overlap
            of a network that looks at the whole image.
    """
    side, reason, fitting = settings.tile, f"a square of {settings.tile} for every image", 0
    devices = count_devices(settings)
    if devices > 1:
        side = None
    elif side == "auto":
        side, fitting, reason = _largest_tile(model, variables, scale, settings)
    height, width = (_extended(model, length, None, settings) for length in size)
    if side is None or height * width <= fitting:
        _check_size(model, (height, width), scale, settings)
        reason = "the whole image at once" if side is None else f"the whole image; {reason}"
        reason = f"the whole image over {devices} devices" if devices > 1 else reason
        return Layout((height, width), (height, width), 0, 0, reason)
    # Rounded down to what the network takes.
    side = max(valid_side(model, 1), int(side) - int(side) % size_divisor(model))
    height, width = (_extended(model, length, side, settings) for length in size)
    tile = min(side, height), min(side, width)
    _check_size(model, tile, scale, settings)
    overlap, ramp = _overlap(model, side, settings)
    return Layout((height, width), tile, overlap, ramp, reason)


def shared_tile(
    model: Network,
    variables: Variables,
    sizes: Iterable[tuple[int, int]],
    scale: int,
    settings: Settings,
) -> int | None:
    """The tile with which images of many sizes are done soonest, in place of 'auto'.

    Whole images are the least arithmetic and the most programs to compile, one for every size. All
    images larger than a tile run in one program; a shorter side runs at its own length, or with
    `Settings.bucket` at a multiple of 32: one more program for every such height or width, and, of
    images smaller than the tile both ways, for every size. Of whole images and all tiles that fit
    the memory that way is taken whose arithmetic and compilations cost least, at round figures for
    the backend, among those of at most `MOST_PROGRAMS` programs, or else that of the fewest.

    Args:
        model: the network.
        variables: its variables, of which only the shapes matter.
        sizes: of the images; which is the height and which the width does not matter.
        scale: the network's factor.
        settings: how the images go through the network; their tile is passed over.

    Returns:
        The side in pixels of the network's input; None where 'auto' stays what it is for each image
        by itself: for `FEW_SIZES` sizes or fewer, and where whole images are best.

    Raises:
        ValueError: not enough memory for any tile.
    """
    inputs = Counter(tuple(sorted(input_size(model, *size, scale))) for size in sizes)
    whole = {tuple(_extended(model, length, None, settings) for length in size) for size in inputs}
    if len(whole) <= FEW_SIZES or (settings.overlap == "exact" and model.receptive_radius is None):
        return None
    largest, _, _ = _largest_tile(model, variables, scale, settings)
    longest = max(max(size) for size in whole)
    sides = range(min(SHORTEST_TILE, largest), min(largest, longest - 1) + 1, STEP)
    compilation = CPU_COMPILATION if jax.default_backend() == "cpu" else ACCELERATOR_COMPILATION
    probe = valid_side(model, SHORTEST_TILE)
    each = multiply_adds(model, probe, probe, scale) / probe**2

    def cost(side: int | None) -> tuple[int, float]:
        programs, pixels = set(), 0
        for size, count in inputs.items():
            image = [_extended(model, length, side, settings) for length in size]
            tile = tuple(image if side is None else (min(side, length) for length in image))
            programs.add(tile)
            overlap = 0 if side is None else _overlap(model, side, settings)[0]
            starts = (
                tile_starts(*lengths, overlap, size_divisor(model))
                for lengths in zip(image, tile, strict=True)
            )
            pixels += count * math.prod(tile) * math.prod(map(len, starts))
        return max(MOST_PROGRAMS, len(programs)), each * pixels + compilation * len(programs)

    usable = [side for side in sides if side > 2 * _overlap(model, side, settings)[0]]
    return min([None, *reversed(usable)], key=cost)


def predict_memory(
    model: Network,
    variables: Variables,
    tile: tuple[int, int],
    scale: int,
    settings: Settings = Settings(),
) -> int:
    """Bytes of the network's program on a batch of tiles: variables, tiles, results, temporaries.

    Of a program that several devices share, the bytes on each.

    The compiler says what two small programs need; from there on memory grows in proportion to
    the pixels, in the networks with attention too, which works in blocks.

    Args:
        model: the network.
        variables: its variables, of which only the shapes matter.
        tile: (height, width) in pixels of the network's input.
        scale: the network's factor.
        settings: of which dtype, batch and shard matter.
    """
    fixed, per_pixel = _memory(model, variables, scale, settings)
    return math.ceil(fixed + per_pixel * tile[0] * tile[1])


def _memory(
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
    pixels, needed = [], []
    for probe in _PROBES:
        # Larger where devices share it: attention must have full blocks on each.
        side = valid_side(model, probe * math.ceil(math.sqrt(devices)))
        images = jax.ShapeDtypeStruct((batch, side, side, model.n_colors), result_dtype(dtype))
        with precision(dtype):
            program = compiled(model, scale, dtype, devices).lower(variables, images).compile()
        analysis = program.memory_analysis()
        pixels.append(side * side)
        needed.append(
            analysis.argument_size_in_bytes
            + analysis.output_size_in_bytes
            + analysis.temp_size_in_bytes
        )
    per_pixel = (needed[1] - needed[0]) / (pixels[1] - pixels[0])
    return max(0.0, needed[0] - per_pixel * pixels[0]), per_pixel


def _largest_tile(
    model: Network, variables: Variables, scale: int, settings: Settings
) -> tuple[int, int, str]:
    """The side of the largest square that fits, the pixels that fit, and why."""
    available, where = _budget()
    # A program holds at least two arrays of its largest size at once; libraries of convolutions
    # index with 32 bits.
    indexed = 2 * 2**31 * jnp.dtype(settings.dtype).itemsize
    if indexed < available:
        available, where = indexed, f"{indexed / 2**30:.0f} GiB, what 32-bit indices reach"
    fixed, per_pixel = _memory(model, variables, scale, settings)
    pixels = max(0, int((available - fixed) / per_pixel))
    most = _most_pixels(model, scale, settings)
    if most < pixels:
        pixels, where = int(most), "what XLA:CPU's convolutions can take on this machine"
    side = math.isqrt(pixels) // STEP * STEP
    if side < STEP:
        least = predict_memory(model, variables, (STEP, STEP), scale, settings)
        raise ValueError(
            f"not enough memory: a tile of {STEP} pixels a side takes {least / 2**20:.0f} MiB, "
            f"there are {where}; give a tile, or a smaller batch"
        )
    return side, pixels, f"a square of {side} is the largest in {where}"


def _most_pixels(model: Network, scale: int, settings: Settings) -> float:
    """Pixels of a tile beyond which XLA:CPU's convolutions ask for more than this machine has."""
    if jax.default_backend() != "cpu":
        return math.inf
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    each = CPU_SCRATCH * settings.batch * output_factor(model, scale) ** 2
    return count_devices(settings) * ram // each


def _check_size(model: Network, tile: tuple[int, int], scale: int, settings: Settings) -> None:
    most = _most_pixels(model, scale, settings)
    if math.prod(tile) > most:
        raise ValueError(
            f"{tile[1]} x {tile[0]} pixels at once are more than XLA:CPU's convolutions can take "
            f"on this machine; give a tile of at most {math.isqrt(int(most)) // STEP * STEP}"
        )


@functools.cache
def _budget() -> tuple[int, str]:
    """Bytes for the network's program, in numbers and words.

    Asked once a process: if every image were given another tile, each would be compiled anew.
    """
    share = CPU_SHARE if jax.default_backend() == "cpu" else ACCELERATOR_SHARE
    at_hand = memory_at_hand()
    return int(share * at_hand), f"{share:.0%} of {at_hand / 2**30:.1f} GiB at hand"


def _overlap(model: Network, side: int, settings: Settings) -> tuple[int, int]:
    """Overlap and ramp: where tiles agree exactly there is nothing to fade."""
    radius = model.receptive_radius
    if settings.overlap == "exact":
        if radius is None:
            name, _ = describe_model(model)
            raise ValueError(
                f"overlap 'exact' is for networks of convolutions alone: {name} looks at the whole "
                "image, so that no tile can equal it; give a number of pixels, or no tile"
            )
        return radius, 0
    if settings.overlap is None:
        overlap = min(32, side // 4, 32 if radius is None else radius)
    else:
        overlap = int(settings.overlap)
    return overlap, 0 if radius is not None and overlap >= radius else overlap


def _extended(model: Network, length: int, side: int | None, settings: Settings) -> int:
    """The side of an image as it goes through the network in tiles of `side` (None: whole)."""
    if settings.bucket and (side is None or length < side):
        length += -length % STEP
        length = length if side is None else min(length, side)
    return valid_side(model, length)


def _host_memory(model: Network, height: int, width: int, scale: int, settings: Settings) -> int:
    """Bytes of arrays on the host at most, for an RGB image of 16 bits."""
    item = np.dtype(result_dtype(settings.dtype)).itemsize
    # Of an output pixel: the result and its rounding; in luma networks also what bicubic
    # interpolation of one channel holds in float64, before the rounding.
    bytes_per_pixel = 3 * item + (20 if model.n_colors == 1 else 6)
    factor = output_factor(model, scale)
    grid_height, grid_width = input_size(model, height, width, scale)
    return height * width * 3 * (item + 2) + bytes_per_pixel * grid_height * grid_width * factor**2
