"""Pictures that show one detail of an image as several methods render it."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sr_jax.storage import write_bytes

# Inches: the height of every image, the room for the labels below it, the gap between images.
_HEIGHT, _LABEL, _GAP = 2.2, 0.5, 0.08


class Comparison(NamedTuple):
    """One row of a picture.

    Attributes:
        title: of the whole image.
        panels: label -> uint8 RGB (H, W, 3), all of one size. The first two are compared to find
            the detail; the last is shown whole.
    """

    title: str
    panels: Mapping[str, np.ndarray]


def write_comparison(path: Path, rows: Sequence[Comparison], *, dpi: int = 200) -> None:
    """Writes a PNG as papers print it: a row for each image, labels below.

    First comes the whole with a box, then what is in the box in every panel, enlarged without
    interpolation. The box is where the first two panels differ most.

    Args:
        path: the file; it appears whole or not at all.
        rows: the images.
        dpi: pixels an inch; an image is 2.2 inches high.
    """
    # All images are of one height whatever their shape, which matplotlib's own layouts do not do.
    wholes = [_HEIGHT * _aspect(row) for row in rows]
    crops = max(len(row.panels) for row in rows)
    width = max(wholes) + crops * (_GAP + _HEIGHT) + 2 * _GAP
    height = len(rows) * (_HEIGHT + _LABEL) + _GAP
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white")

    def show(image: np.ndarray, label: str, left: float, top: float, breadth: float) -> Axes:
        place = (left / width, 1 - (top + _HEIGHT) / height, breadth / width, _HEIGHT / height)
        axis = figure.add_axes(place, xticks=[], yticks=[])
        axis.imshow(image, interpolation="nearest")
        axis.spines[:].set_visible(False)
        axis.set_xlabel(label, fontsize=9, labelpad=3)
        return axis

    for number, (row, whole) in enumerate(zip(rows, wholes, strict=True)):
        images = list(row.panels.values())
        side = min(max(48, min(images[0].shape[:2]) // 5), *images[0].shape[:2])
        y, x = _busiest_window(images[0], images[1], side)
        top = _GAP + number * (_HEIGHT + _LABEL)
        left = _GAP + max(wholes) - whole  # the crops of all rows stand below each other
        axis = show(images[-1], row.title, left, top, whole)
        # Pixel centres are whole numbers: a pixel's edge lies half a pixel before it.
        axis.add_patch(Rectangle((x - 0.5, y - 0.5), side, side, fill=False, color="red"))
        for column, (label, image) in enumerate(row.panels.items()):
            left = _GAP + max(wholes) + _GAP + column * (_HEIGHT + _GAP)
            show(image[y : y + side, x : x + side], label, left, top, _HEIGHT)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    write_bytes(path, stream.getvalue())


def _aspect(row: Comparison) -> float:
    """Width of the whole image over its height; a panorama becomes lower instead of wider."""
    height, width = next(iter(row.panels.values())).shape[:2]
    return min(width / height, 2.0)


def _busiest_window(a: np.ndarray, b: np.ndarray, side: int) -> tuple[int, int]:
    """Top and left of the square in which two images differ most."""
    difference = np.abs(a.astype(np.float64) - b).sum(axis=-1)
    integral = np.pad(difference.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    sums = (
        integral[side:, side:]
        - integral[:-side, side:]
        - integral[side:, :-side]
        + integral[:-side, :-side]
    )
    top, left = np.unravel_index(np.argmax(sums), sums.shape)
    return int(top), int(left)
