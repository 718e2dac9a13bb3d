"""How an image is cut into tiles, and what that will cost."""

import dataclasses
import math
from collections.abc import Iterable
from typing import NamedTuple

import jax

from sr_jax.inference.cost import check_tile, host_memory, largest_tile, predict_memory
from sr_jax.inference.program import count_devices, input_size, valid_side
from sr_jax.inference.settings import STEP, Settings
from sr_jax.inference.tiling import tile_starts
from sr_jax.models import Variables, describe_model, multiply_adds
from sr_jax.models.network import Network

FEW_SIZES = 8  # so many compilations are worth the wait

# Least side of a tile that images of many sizes share. It is at least four receptive radii, so
# that overlaps leave half of it: tiles take up to four times the arithmetic of whole images.
SHARED_TILE = 128

# Multiply-adds of an image that are done three times while its program would be compiled, which
# takes about 1 s at 50 G a second (EDSR-baseline on 2 cores) and 5 s at 20 T a second.
CPU_LIGHT = 1.5e10
ACCELERATOR_LIGHT = 3e13


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
    cut = layout(model, variables, input_size(model, height, width, scale), scale, settings)
    tiles = math.prod(
        len(tile_starts(length, tile, cut.overlap, model.size_divisor))
        for length, tile in zip(cut.size, cut.tile, strict=True)
    )
    tiles *= 8 if settings.ensemble else 1
    return Plan(
        cut.tile,
        tiles,
        predict_memory(model, variables, cut.tile, scale, settings),
        host_memory(model, height, width, scale, settings),
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
    whole = _extended(model, size, None, settings)
    devices = count_devices(settings)
    if devices > 1 or settings.tile is None:
        over = f"over {devices} devices" if devices > 1 else "at once"
        check_tile(model, whole, scale, settings)
        return Layout(whole, whole, 0, 0, f"the whole image {over}")
    if settings.tile == "auto":
        side, pixels, reason = largest_tile(model, variables, scale, settings)
        if math.prod(whole) <= pixels:
            return Layout(whole, whole, 0, 0, f"the whole image; {reason}")
    else:
        side, reason = int(settings.tile), f"a square of {settings.tile} for every image"
    # Rounded down to what the network takes.
    side = max(valid_side(model, 1), side - side % model.size_divisor)
    height, width = _extended(model, size, side, settings)
    tile = min(side, height), min(side, width)
    check_tile(model, tile, scale, settings)
    return Layout((height, width), tile, *_overlap(model, side, settings), reason)


def share_tile(
    model: Network,
    variables: Variables,
    sizes: Iterable[tuple[int, int]],
    scale: int,
    settings: Settings,
) -> Settings:
    """Settings with which images of many sizes take few programs and give the same results.

    Every size of image is compiled by itself; tiles of one size are compiled once. A shorter side
    runs at its own length. Tiles with an exact overlap are taken in place of 'auto' where

    - there are more than `FEW_SIZES` sizes;
    - the network is of convolutions alone, so that such tiles equal the whole image;
    - the mean image is so little arithmetic that to compile a program for it takes longer.

    Args:
        model: the network.
        variables: its variables, of which only the shapes matter.
        sizes: of the images; which is the height and which the width does not matter.
        scale: the network's factor.
        settings: how the images would go through the network one by one.

    Returns:
        The settings with another tile and overlap, or as they were given.

    Raises:
        ValueError: not enough memory for any tile.
    """
    radius = model.receptive_radius
    by_image = settings.tile != "auto" or settings.shard or isinstance(settings.overlap, int)
    if by_image or radius is None:
        return settings
    inputs = [input_size(model, *size, scale) for size in sizes]
    different = {tuple(sorted(_extended(model, size, None, settings))) for size in inputs}
    if len(different) <= FEW_SIZES:
        return settings
    side = max(SHARED_TILE, _next_step(4 * radius))
    pixels = sum(map(math.prod, inputs)) / len(inputs) * (8 if settings.ensemble else 1)
    light = CPU_LIGHT if jax.default_backend() == "cpu" else ACCELERATOR_LIGHT
    if multiply_adds(model, side, side, scale) * pixels / side**2 > light:
        return settings
    if largest_tile(model, variables, scale, settings)[0] < side:
        return settings
    return dataclasses.replace(settings, tile=side, overlap="exact")


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


def _extended(
    model: Network, size: tuple[int, int], tile: int | None, settings: Settings
) -> tuple[int, int]:
    """The size of an image as it goes through the network in tiles (None: whole)."""

    def side(length: int) -> int:
        if settings.bucket and (tile is None or length < tile):
            length = _next_step(length) if tile is None else min(_next_step(length), tile)
        return valid_side(model, length)

    return side(size[0]), side(size[1])


def _next_step(length: int) -> int:
    return length + -length % STEP
