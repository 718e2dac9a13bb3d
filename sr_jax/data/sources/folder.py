"""Folders of images of one's own."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

from sr_jax.data.sources.images import ImageFile, ImagePair, Reader
from sr_jax.imaging.files import list_images

SPLITS = ("train", "validation")


def list_folder(
    folder: str | os.PathLike[str], scales: Sequence[int] = (2,)
) -> tuple[ImagePair, ...]:
    """Lists all images of one folder, sorted by path, without decoding any.

    If the folder has a folder `HR`, the HR images are in there, and the LR images of scale s in
    `LR_bicubic/X<s>` if that exists: under the HR's name with or without `x<s>` after it, as in
    DIV2K (`0801.png`, `0801x2.png`). Otherwise all its images are HR images. Both are searched
    recursively. 16 bits are reduced to 8, grey is replicated, alpha is dropped.

    Args:
        folder: the folder.
        scales: the scales to be used.

    Returns:
        The images, at least one, named by their paths under the folder (or `HR`) without suffix.

    Raises:
        ValueError: if there is no such folder or no image in it, two images have one name, LR
            images are found among the HR images, or an LR folder lacks an image; a file is named.
    """
    folder = Path(folder)
    has_layout = (folder / "HR").is_dir()
    hr_folder = folder / "HR" if has_layout else folder
    files: dict[Path, Path] = {}
    for file in list_images(hr_folder):
        inside = file.relative_to(hr_folder)
        if "LR_bicubic" in inside.parts:
            raise ValueError(
                f"{file} is an LR image where HR images are expected: name the folder that holds "
                f"both HR and LR_bicubic"
            )
        other = files.setdefault(inside.with_suffix(""), file)
        if other != file:
            raise ValueError(f"{other} and {file} have the same name: rename or remove one")

    readers: dict[Path, dict[int, Reader]] = {stem: {} for stem in files}
    for scale in scales:
        lr_folder = folder / "LR_bicubic" / f"X{scale}"
        if not (has_layout and lr_folder.is_dir()):
            continue
        known = {f.relative_to(lr_folder).with_name(f.stem): f for f in list_images(lr_folder)}
        for stem, file in files.items():
            suffixed = stem.with_name(f"{stem.name}x{scale}")
            lr_file = known.get(suffixed, known.get(stem))
            if lr_file is None:
                raise ValueError(
                    f"{lr_folder} lacks {suffixed}{file.suffix} (or {stem}{file.suffix}), the LR "
                    f"image of {file}: add it, or remove that folder to have LR images made"
                )
            readers[stem][scale] = ImageFile(lr_file)
    return tuple(
        ImagePair(stem.as_posix(), tuple(scales), ImageFile(file), readers[stem])
        for stem, file in files.items()
    )


def list_folders(
    split: str, path: str | os.PathLike[str] | None, scales: tuple[int, ...]
) -> tuple[ImagePair, ...]:
    """One or several folders, each split by itself, then joined: see `load`."""
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
    present = [name for name in SPLITS if (folder / name).is_dir()]
    if len(present) == 1:
        raise ValueError(
            f"{folder} has a folder {present[0]!r} but not the other of {' and '.join(SPLITS)}"
        )
    if present:
        return list_folder(folder / split, scales)
    pairs = list_folder(folder, scales)
    if len(pairs) == 1:
        raise ValueError(f"{folder} holds one image; training and validation need one each")
    chosen = range(0, len(pairs), 10)[:10]
    return tuple(pair for i, pair in enumerate(pairs) if (i in chosen) == (split == "validation"))
