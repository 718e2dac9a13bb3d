"""Pictures that show one detail of an image as several methods render it."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sr_jax.imaging.files import write_bytes


class Comparison(NamedTuple):
    """One row of a picture.

    Attributes:
        title: of the whole image.
        panels: label -> uint8 RGB (H, W, 3), all of one size. The first two are compared to find
            the detail; the last is shown whole.
    """

    title: str
    panels: Mapping[str, np.ndarray]


def write_comparison(path: Path, rows: Sequence[Comparison]) -> None:
    """Writes a PNG: for each image the whole with a box, then the box in every panel, enlarged.

    The box is where the first two panels differ most.

    Args:
        path: the file; it appears whole or not at all.
        rows: the images.
    """
    columns = 1 + max(len(row.panels) for row in rows)
    figure = Figure(figsize=(3.0 * columns, 3.3 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for line, row in zip(axes, rows, strict=True):
        images = list(row.panels.values())
        side = min(max(48, min(images[0].shape[:2]) // 5), *images[0].shape[:2])
        top, left = _busiest_window(images[0], images[1], side)
        line[0].imshow(images[-1])
        line[0].add_patch(
            Rectangle((left, top), side, side, fill=False, color="red", linewidth=1.5)
        )
        line[0].set_title(row.title, fontsize=10)
        for axis, (label, image) in zip(line[1:], row.panels.items(), strict=False):
            axis.imshow(image[top : top + side, left : left + side], interpolation="nearest")
            axis.set_title(label, fontsize=10)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    write_bytes(path, stream.getvalue())


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
