"""How an image is cut into tiles, and what that will cost."""

import dataclasses
import math
from collections.abc import Iterable
from typing import NamedTuple

import jax

from sr_jax.inference.cost import (
    check_tile,
    fits_small,
    host_memory,
    largest_tile,
    predict_memory,
)
from sr_jax.inference.program import count_devices, input_size, valid_side
from sr_jax.inference.settings import STEP, Settings
from sr_jax.inference.tiling import tile_starts
from sr_jax.models import Variables, describe_model, multiply_adds
from sr_jax.models.network import Network

FEW_SIZES = 8  # so many compilations are worth the wait

# Least side of a tile that images of many sizes share. It is at least four receptive radii, so
# that overlaps leave half of it.
SHARED_TILE = 128

# Multiply-adds that are done while a program is compiled: about 0.5 s at 240 G a second
# (EDSR-baseline on 2 cores), 5 s at 20 T a second.
CPU_COMPILATION = 1.2e11
ACCELERATOR_COMPILATION = 1e14


class Layout(NamedTuple):
    """How an image is cut.

    Attributes:
        size: (height, width) of the network's input, extended to what the network takes.
        tile: (height, width) of every tile.
        overlap: what a tile sees beyond its part, in input pixels.
        ramp: over how many input pixels neighbours fade into each other.
        reason: what the tile's size follows from.
        canvas: (height, width) of the array in whose corner every tile lies, if it is one.
    """

    size: tuple[int, int]
    tile: tuple[int, int]
    overlap: int
    ramp: int
    reason: str
    canvas: tuple[int, int] | None = None


class Plan(NamedTuple):
    """What an image will cost.

    Attributes:
        tile: (height, width) of a tile, in pixels of the network's input.
        tiles: how many go through the network, those of all symmetries together.
        device_memory: bytes that the network's program takes, the variables included; where
            several devices share the image, on each of them.
        host_memory: bytes of the arrays around it at most: image, results, rounding. On a CPU both
            come out of the same memory.
        multiply_adds: of all tiles, with what buckets add to them.
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
    size = cut.canvas or cut.tile
    return Plan(
        cut.tile,
        tiles,
        predict_memory(model, variables, size, scale, settings),
        host_memory(model, height, width, scale, settings),
        tiles * multiply_adds(model, *size, scale),
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
    canvas = _canvas(model, whole, None, settings)
    devices = count_devices(settings)
    if devices > 1 or settings.tile is None:
        over = f"over {devices} devices" if devices > 1 else "at once"
        check_tile(model, canvas or whole, scale, settings)
        return Layout(whole, whole, 0, 0, f"the whole image {over}", canvas)
    if settings.tile == "auto":
        limit = fits_small(
            model, variables, canvas or whole, scale, settings, canvas=canvas is not None
        )
        if limit:
            return Layout(whole, whole, 0, 0, f"the whole image, which fits in {limit}", canvas)
        side, pixels, reason = largest_tile(model, variables, scale, settings)
        if math.prod(whole) <= pixels:
            canvas = canvas if canvas and math.prod(canvas) <= pixels else None
            return Layout(whole, whole, 0, 0, f"the whole image; {reason}", canvas)
    else:
        side, reason = int(settings.tile), f"a square of {settings.tile} for every image"
    # Rounded down to what the network takes.
    side = max(valid_side(model, 1), side - side % model.size_divisor)
    height, width = _extended(model, size, side, settings)
    tile = min(side, height), min(side, width)
    canvas = _canvas(model, tile, side, settings)
    check_tile(model, canvas or tile, scale, settings)
    return Layout((height, width), tile, *_overlap(model, side, settings), reason, canvas)


def share_programs(
    model: Network,
    variables: Variables,
    sizes: Iterable[tuple[int, int]],
    scale: int,
    settings: Settings,
) -> Settings:
    """Settings with which images of many sizes take few programs and give the same results.

    Every size is compiled by itself. If there are more than `FEW_SIZES`, and the network is one
    with `pads_in_conv`, then larger buckets in place of 1, and tiles with an exact overlap in place
    of 'auto', are taken where compilations and arithmetic together take least.

    Args:
        model: the network.
        variables: its variables, of which only the shapes matter.
        sizes: of the images; which is the height and which the width does not matter.
        scale: the network's factor.
        settings: how the images would go through the network one by one.

    Returns:
        The settings with another tile, overlap and bucket, or as they were given.

    Raises:
        ValueError: not enough memory for any tile.
    """
    radius = model.receptive_radius
    by_image = settings.tile != "auto" or settings.shard or isinstance(settings.overlap, int)
    if by_image or radius is None or not model.pads_in_conv:
        return settings
    inputs = [_extended(model, input_size(model, *size, scale), None, settings) for size in sizes]
    if len({tuple(sorted(size)) for size in inputs}) <= FEW_SIZES:
        return settings
    side = max(SHARED_TILE, _bucket(4 * radius, STEP, None))
    choices = [settings]
    choices += [dataclasses.replace(settings, bucket=step) for step in (STEP, 2 * STEP)]
    if side <= largest_tile(model, variables, scale, settings)[0]:
        tiles = dataclasses.replace(settings, tile=side, overlap="exact")
        choices += [dataclasses.replace(tiles, bucket=step) for step in (STEP, 2 * STEP, side)]
    per_pixel = multiply_adds(model, side, side, scale) / side**2
    on_cpu = jax.default_backend() == "cpu"

    def work(choice: Settings) -> float:
        tile = None if choice.tile == "auto" else side
        pixels, shapes = 0, set()
        for size in inputs:
            cut = [min(length, tile or length) for length in size]
            height, width = _canvas(model, (cut[0], cut[1]), tile, choice) or cut
            tiles = math.prod(len(tile_starts(length, tile or length, radius)) for length in size)
            pixels += tiles * height * width
            shapes.add((height, width))
        passes = 8 if settings.ensemble else 1
        compilation = CPU_COMPILATION if on_cpu else ACCELERATOR_COMPILATION
        return passes * pixels * per_pixel + len(shapes) * compilation

    return min((choice for choice in choices if choice.bucket >= settings.bucket), key=work)


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
    bucket = 1 if _pads_canvas(model, settings) else settings.bucket
    height, width = (valid_side(model, _bucket(length, bucket, tile)) for length in size)
    return height, width


def _canvas(
    model: Network, size: tuple[int, int], tile: int | None, settings: Settings
) -> tuple[int, int] | None:
    """The size of the array that a tile, or a whole image (tile None), lies in the corner of."""
    if not _pads_canvas(model, settings):
        return None
    height, width = (valid_side(model, _bucket(length, settings.bucket, tile)) for length in size)
    return height, width


def _pads_canvas(model: Network, settings: Settings) -> bool:
    return model.pads_in_conv and settings.bucket > 1 and count_devices(settings) == 1


def _bucket(length: int, bucket: int, tile: int | None) -> int:
    """A length up to a multiple of the bucket, unless it fills a tile."""
    longer = length + -length % bucket
    return longer if tile is None else max(length, min(longer, tile))
