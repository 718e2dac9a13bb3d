"""Images through a network in tiles of one shape, blended without a seam.

Tiles are evenly spaced, the first and the last at the image's border. Neighbours share at least
twice the overlap. In the middle of what they share, one fades into the other along a ramp, at
most as long as the overlap. So pixels within half an overlap of a tile's own border, where the
network saw least, never count.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

Report = Callable[[int, int], object]  # takes how many tiles are done, and of how many


class Tile(NamedTuple):
    """One tile of an image; all arrays are views, so that a tile costs no memory.

    Attributes:
        source: (h, w, C), what the network is given.
        target: (h', w', D), the part of the result that it contributes to.
        inside: where that part lies in the network's output (f * h, f * w, D).
        weights: (h', 1, 1) and (w', 1), whose product the output is multiplied by before it is
            added. The products of all tiles sum to one at every pixel.
    """

    source: np.ndarray
    target: np.ndarray
    inside: tuple[slice, slice]
    weights: tuple[np.ndarray, np.ndarray]


def tile_starts(length: int, tile: int, overlap: int, divisor: int = 1) -> list[int]:
    """Where the tiles along one side begin: as few as can be, evenly spread.

    >>> tile_starts(100, 40, 5)
    [0, 30, 60]
    >>> tile_starts(30, 40, 5)
    [0]

    Args:
        length: of the side, a multiple of the divisor.
        tile: length of a tile, a multiple of the divisor; a shorter side is one tile.
        overlap: neighbours share at least twice that.
        divisor: what the starts are multiples of.

    Raises:
        ValueError: the overlaps leave nothing of a tile.
    """
    if length <= tile:
        return [0]
    stride = (tile - 2 * overlap) // divisor
    if stride < 1:
        raise ValueError(
            f"a tile of {tile} pixels is used up by overlaps of {overlap} on both sides: give "
            f"tiles of {2 * overlap + divisor} pixels at least, or a smaller overlap"
        )
    last = (length - tile) // divisor
    steps = -(-last // stride)
    return [divisor * (step * last // steps) for step in range(steps + 1)]


def blend_weights(
    starts: Sequence[int], tile: int, ramp: int, factor: int, dtype: np.dtype | type = np.float32
) -> list[np.ndarray]:
    """The weight of every output pixel along one side, for each tile; they sum to one.

    Args:
        starts: of the tiles, in input pixels.
        tile: length of a tile, in input pixels.
        ramp: length over which one tile fades into the next, in input pixels; 0 is a cut.
        factor: output pixels of an input pixel.
        dtype: of the result.

    Returns:
        An array (factor * tile,) for each start.
    """
    # Pixel centres, in units of half an output pixel, in which all cuts are whole numbers.
    centres = 2 * np.arange(factor * tile) + 1
    cuts = [factor * (a + b + tile) for a, b in itertools.pairwise(starts)]

    def risen(start: int, cut: int) -> np.ndarray:
        beyond = centres + 2 * factor * start - cut
        return (beyond / (2 * factor * ramp) + 0.5).clip(0, 1) if ramp else beyond >= 0

    weights = []
    for index, start in enumerate(starts):
        weight = np.ones(len(centres))
        if index > 0:
            weight *= risen(start, cuts[index - 1])
        if index < len(cuts):
            weight -= risen(start, cuts[index])
        weights.append(weight.astype(dtype))
    return weights


def split(
    image: np.ndarray,
    result: np.ndarray,
    tile: tuple[int, int],
    overlap: int,
    ramp: int,
    divisor: int = 1,
) -> list[Tile]:
    """The tiles of one image.

    Args:
        image: (H, W, C).
        result: (f * H, f * W, D), to which the tiles will add.
        tile: (height, width) of a tile, at most the image's.
        overlap, divisor: see `tile_starts`.
        ramp: see `blend_weights`; at most the overlap.

    Raises:
        ValueError: see `tile_starts`.
    """
    factor = result.shape[0] // image.shape[0]
    sides = []
    for length, part in zip(image.shape[:2], tile, strict=True):
        starts = tile_starts(length, part, overlap, divisor)
        weights = blend_weights(starts, part, ramp, factor, result.dtype)
        sides.append(list(zip(starts, weights, strict=True)))
    tiles = []
    for top, row_weights in sides[0]:
        rows = _support(row_weights)
        for left, column_weights in sides[1]:
            columns = _support(column_weights)
            source = image[top : top + tile[0], left : left + tile[1]]
            target = result[factor * top :, factor * left :][rows, columns]
            shares = row_weights[rows, None, None], column_weights[columns, None]
            tiles.append(Tile(source, target, (rows, columns), shares))
    return tiles


def run(
    function: Callable[[np.ndarray], np.ndarray],
    tiles: Iterable[Tile],
    batch: int,
    report: Report | None = None,
) -> None:
    """Sends tiles through a network and adds what comes out to the results.

    Tiles of one shape go together. Of fewer tiles than a batch the number is filled up to a power
    of two, and else to full batches, with copies that nothing is made of: few shapes to compile.

    Args:
        function: (N, h, w, C) -> (N, f * h, f * w, D).
        tiles: of one or several images; they may differ in shape.
        batch: how many the function takes at once.
        report: is told after every call of the function.
    """
    groups: dict[tuple[int, ...], list[Tile]] = {}
    for tile in tiles:
        groups.setdefault(tile.source.shape, []).append(tile)
    done, total = 0, sum(map(len, groups.values()))
    for group in groups.values():
        size = min(batch, 1 << (len(group) - 1).bit_length())
        for start in range(0, len(group), size):
            part = group[start : start + size]
            sources = [tile.source for tile in part]
            sources += [part[-1].source] * (size - len(part))
            for tile, output in zip(part, function(np.stack(sources)), strict=False):
                rows, columns = tile.weights
                tile.target[...] += output[tile.inside] * rows * columns
            done += len(part)
            if report:
                report(done, total)


def _support(weights: np.ndarray) -> slice:
    """From the first to the last pixel that counts."""
    (nonzero,) = weights.nonzero()
    return slice(int(nonzero[0]), int(nonzero[-1]) + 1)
