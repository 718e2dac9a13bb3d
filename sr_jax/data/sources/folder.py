"""Folders of images of one's own."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from absl import logging

from sr_jax.data.sources.images import ImagePair
from sr_jax.data.sources.layouts import Layout, find_layout

SPLITS = ("train", "validation")
# What folders of the splits are called.
_TRAIN, _VALIDATION = ("train",), ("validation", "valid", "val")


def list_folder(
    folder: str | os.PathLike[str], scales: Sequence[int] = (2,)
) -> tuple[ImagePair, ...]:
    """Lists all images of one folder, sorted by path, without decoding any.

    A folder of HR images, or one of the layouts of `sr_jax.data.sources.layouts`. All are searched
    at any depth. 16 bits are reduced to 8, grey is replicated, alpha is dropped.

    Args:
        folder: the folder.
        scales: the scales to be used.

    Returns:
        The images, at least one, named by their paths under the folder (or that of the HR images)
        without suffix.

    Raises:
        ValueError: see `layouts.find_layout`.
    """
    return find_layout(Path(folder), scales).pairs


def list_folders(
    split: str, path: str | os.PathLike[str] | None, scales: tuple[int, ...]
) -> tuple[ImagePair, ...]:
    """One or several folders, each split by itself, then joined: see `load`.

    The log says what was found in each, where LR images come from, and what was left out.
    """
    if not path:
        raise ValueError("the source 'folder' needs a path: a folder of images, or several: A,B")
    text = os.fspath(path)
    parts = [text] if Path(text).is_dir() else text.replace(os.pathsep, ",").split(",")
    if len(set(parts)) < len(parts):
        raise ValueError(f"the same folder twice: {text}")
    if len(parts) == 1:
        return _one_folder(Path(text), split, scales)
    return tuple(
        dataclasses.replace(pair, name=f"{part}/{pair.name}")
        for part in parts
        for pair in _one_folder(Path(part), split, scales)
    )


def _one_folder(folder: Path, split: str, scales: tuple[int, ...]) -> tuple[ImagePair, ...]:
    layout, is_split = _find(folder, split, scales)
    pairs = layout.pairs
    if not is_split:
        if len(pairs) == 1:
            raise ValueError(f"{folder} holds one image; training and validation need one each")
        chosen = range(0, len(pairs), 10)[:10]
        pairs = tuple(p for i, p in enumerate(pairs) if (i in chosen) == (split == "validation"))
    logging.info("%s: %d of %s", split, len(pairs), layout.describe())
    return pairs


def _find(folder: Path, split: str, scales: tuple[int, ...]) -> tuple[Layout, bool]:
    """The layout of a folder or of its split, and whether it is that of the split alone."""
    inner = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    train = [path for path in inner if path.name.lower() in _TRAIN]
    validation = [path for path in inner if path.name.lower() in _VALIDATION]
    if len(train) > 1 or len(validation) > 1:
        both = " and ".join(str(path) for path in (train if len(train) > 1 else validation))
        raise ValueError(f"{both} are both folders of one split: keep one")
    if train and validation:
        return find_layout((train if split == "train" else validation)[0], scales), True
    if train or validation:
        have, lack = ("train", "validation") if train else (validation[0].name, "train")
        raise ValueError(f"{folder} has a folder {have!r} but no folder {lack!r}: make one")
    names = [path.name.lower() for path in inner]
    if "div2k_train_hr" in names and "div2k_valid_hr" in names:
        other = "div2k_valid" if split == "train" else "div2k_train"
        return find_layout(folder, scales, without=other), True
    return find_layout(folder, scales), False
