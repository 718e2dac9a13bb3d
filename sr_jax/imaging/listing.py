"""Which image files a folder holds, and what else lies in it."""

import os
from dataclasses import dataclass
from pathlib import Path

from sr_jax.imaging.files import SUFFIXES

# What file managers, notebooks and network drives leave behind; names that begin with a dot too.
_LEFTOVERS = {"@eadir", "__macosx", "#recycle", "$recycle.bin", "thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Listing:
    """What lies in a folder, at any depth, sorted by path.

    Attributes:
        images: files with a suffix of `SUFFIXES`, readable or not.
        hidden: files and folders that other programs leave behind (dot files, @eaDir, __MACOSX,
            Thumbs.db); such a folder counts once.
        others: files with another suffix.
        unreadable: folders that cannot be opened.
    """

    images: tuple[Path, ...]
    hidden: tuple[Path, ...] = ()
    others: tuple[Path, ...] = ()
    unreadable: tuple[Path, ...] = ()

    def left_out(self) -> str:
        """What is not among the images and why, on one line; empty if that is nothing."""
        parts = []
        if self.others:
            parts.append(f"no image by its suffix: {_some(self.others)}")
        if self.hidden:
            parts.append(f"hidden: {_some(self.hidden)}")
        if self.unreadable:
            parts.append(f"cannot be opened: {_some(self.unreadable)}")
        return "; ".join(parts)


def list_files(folder: str | os.PathLike[str]) -> Listing:
    """Everything under a folder. Links to folders are followed, each folder once.

    Args:
        folder: the folder.

    Returns:
        Paths that begin with `folder`.

    Raises:
        ValueError: there is no such folder, or it cannot be opened.
    """
    folder = Path(folder)
    if not folder.is_dir():
        problem = "it is a file" if folder.exists() else "no such folder"
        raise ValueError(f"cannot list images of {folder}: {problem}")
    images, hidden, others, unreadable = [], [], [], []
    seen = set()

    def walk(place: Path) -> None:
        real = os.path.realpath(place)
        if real in seen:
            return
        seen.add(real)
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:
            unreadable.append(place)
            return
        for entry in entries:
            path = place / entry.name
            if is_hidden(entry.name):
                hidden.append(path)
            elif _is_folder(entry):
                walk(path)
            elif path.suffix.lower() in SUFFIXES:
                images.append(path)
            else:
                others.append(path)

    walk(folder)
    if unreadable == [folder]:
        raise ValueError(f"cannot list images of {folder}: it cannot be opened")
    return Listing(tuple(sorted(images)), tuple(hidden), tuple(others), tuple(unreadable))


def is_hidden(name: str) -> bool:
    """Whether other programs leave files or folders of this name behind."""
    return name.startswith(".") or name.lower() in _LEFTOVERS


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The image files under a folder, at any depth, sorted by path: see `list_files`.

    Returns:
        Paths that begin with `folder`, at least one.

    Raises:
        ValueError: as `list_files`, or it holds no images.
    """
    found = list_files(folder)
    if not found.images:
        raise ValueError(
            f"cannot list images of {folder}: it holds no file named *{', *'.join(SUFFIXES)}"
        )
    return list(found.images)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _some(paths: tuple[Path, ...], most: int = 5) -> str:
    names = ", ".join(path.name for path in paths[:most])
    return names if len(paths) <= most else f"{names} and {len(paths) - most} more"
