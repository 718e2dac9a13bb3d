"""Where training and validation images come from: `photos`, `folder` or `div2k`.

`load` lists the images of one split and decodes none of them. Each is an `ImagePair`, which reads
its high-resolution (HR) image and the low-resolution (LR) image of a scale on demand, as 8-bit RGB,
aligned with each other. Nothing is cached here.
"""

import os
from collections.abc import Sequence

from sr_jax.data.sources.div2k import list_div2k
from sr_jax.data.sources.folder import SPLITS, list_folder, list_folders
from sr_jax.data.sources.images import ImagePair, Reader
from sr_jax.data.sources.photos import list_photos

__all__ = ["SPLITS", "ImagePair", "Reader", "list_folder", "load"]

_SOURCES = {"photos": list_photos, "folder": list_folders, "div2k": list_div2k}


def load(
    source: str,
    split: str,
    *,
    path: str | os.PathLike[str] | None = None,
    scales: Sequence[int] = (2,),
) -> tuple[ImagePair, ...]:
    """Lists the images of one split of a source, in a fixed order, without decoding any.

    Args:
        source: `"photos"`, `"folder"` or `"div2k"`.
        split: `"train"` or `"validation"`; no image is in both.
        path: `photos`: None. `folder`: a folder, or several separated by commas (or
            `os.pathsep`), each as `list_folder` takes it. `FOLDER/train` and
            `FOLDER/validation` are the splits where they exist; otherwise, of a folder's sorted
            images, the 1st, 11th, 21st ... (ten at most) are for validation and the others for
            training. `div2k`: TFDS's `data_dir`, or None for TFDS's default.
        scales: the integer scales to be used, each at least 2; `div2k` has 2, 3, 4 and 8.

    Returns:
        The images, at least one, with distinct names.

    Raises:
        ValueError: if an argument is not one of the above or the images are not there, in one line
            that says what to do.
    """
    if source not in _SOURCES:
        raise ValueError(f"unknown data source {source!r}; known: {', '.join(_SOURCES)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    if not scales or any(not isinstance(s, int) or s < 2 for s in scales):
        raise ValueError(f"scales must be integers of at least 2, got {tuple(scales)}")
    return _SOURCES[source](split, path, tuple(scales))
