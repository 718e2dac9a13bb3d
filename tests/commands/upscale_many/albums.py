"""An album for many processes, and what they make of it; tests import the fixture by `as`."""

import csv
from pathlib import Path

import numpy as np
import pytest

from sr_jax.imaging.files import read_image, write_image

SHAPES = {"a.png": (5, 6, 3), "b.JPG": (7, 6, 3), "trip/a.tif": (5, 6), "trip/c.png": (6, 5, 4)}


@pytest.fixture
def album(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        write_image(tmp_path / "album" / name, rng.integers(0, 256, shape, np.uint8))
    return tmp_path / "album"


def pixels(folder: Path) -> dict[str, np.ndarray]:
    """The images in a folder by their names, without what is hidden."""
    paths = [path for path in folder.rglob("[!.]*.png") if path.is_file()]
    return {path.relative_to(folder).as_posix(): read_image(path) for path in paths}


def failures(table: Path) -> list[list[str]]:
    return list(csv.reader(table.read_text().splitlines()))
