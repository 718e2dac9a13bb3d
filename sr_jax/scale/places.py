"""Files of this machine and of others: listed, read and written by their addresses.

Addresses such as s3://bucket/folder go through fsspec, which needs a package for most kinds: s3fs
for s3://, gcsfs for gs://. Everything else is a path of this machine.
"""

import contextlib
import datetime
import itertools
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from sr_jax.imaging.decoding import decode_size
from sr_jax.imaging.files import (
    JPEG_BEGINS,
    MAX_BYTES,
    SUFFIXES,
    is_jpeg,
    read_content,
    read_size,
    reading,
)
from sr_jax.imaging.listing import Listing, is_hidden
from sr_jax.storage import write_bytes

Given = TypeVar("Given")
Answer = TypeVar("Answer")

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.IGNORECASE | re.DOTALL)
_LOCAL = ("file", "local")
# Where a file that is put is there whole or not at all.
_OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "memory")
# What tells versions of a file apart, by the names that fsspec's file systems have for it.
_VERSIONS = ("ETag", "etag", "generation", "mtime", "LastModified", "last_modified", "created")
_HEADER = 2**16  # bytes at once of files of which the header is read
_WAITING = 10_000  # questions that wait for an answer
_QUESTIONS = 32  # at once, to storage that takes its time to answer each


def is_address(place: str | os.PathLike[str]) -> bool:
    """Whether this is an address, and not a path of this machine."""
    match = _ADDRESS.match(os.fspath(place))
    return match is not None and match[1].lower() not in _LOCAL


def locate(place: str | os.PathLike[str]) -> str:
    """The address as it was typed, of which `Path` makes s3:/...; or an absolute path.

    >>> locate(Path("s3://bucket/a.png")), locate("file:///tmp/a.png")
    ('s3://bucket/a.png', '/tmp/a.png')
    """
    match = _ADDRESS.match(os.fspath(place))
    if not match:
        return os.path.abspath(place)
    return f"/{match[2]}" if match[1].lower() in _LOCAL else f"{match[1].lower()}://{match[2]}"


def join(folder: str, name: str) -> str:
    """The place of a file within a folder.

    >>> join("s3://bucket/large/", "trip/a.png")
    's3://bucket/large/trip/a.png'
    """
    return f"{folder.rstrip('/')}/{name}"


def ask_many(question: Callable[[Given], Answer], given: Iterable[Given]) -> list[Answer]:
    """What a function of files says of each: many are asked at once."""
    waiting = iter(given)
    answers: list[Answer] = []
    with ThreadPoolExecutor(_QUESTIONS) as pool:
        # Not a million at once: each takes a kilobyte until it is answered.
        while some := list(itertools.islice(waiting, _WAITING)):
            answers += pool.map(question, some)
    return answers


def read(place: str) -> bytes:
    """What an image file holds.

    Raises:
        ValueError: it cannot be read, or is too long for an image.
    """
    if not is_address(place):
        return read_content(place)
    with reading(place):
        files, path = _open(place)
        return files.cat_file(path, 0, MAX_BYTES)


def read_start(place: str) -> tuple[tuple[int, int], bool]:
    """(height, width) by the header of an image file, and whether the file is in JPEG.

    Raises:
        ValueError: it cannot be read.
    """
    if not is_address(place):
        return read_size(place), is_jpeg(place)
    with reading(place):
        files, path = _open(place)
        with files.open(path, block_size=_HEADER) as stream:
            size = decode_size(stream)
            stream.seek(0)
            return size, stream.read(len(JPEG_BEGINS)) == JPEG_BEGINS


@contextlib.contextmanager
def local_copy(place: str) -> Iterator[Path]:
    """The image file, or a copy of it on this machine for as long as it is needed.

    Raises:
        ValueError: see `read`.
    """
    if not is_address(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="sr_jax-") as folder:
        path = Path(folder, PurePosixPath(place).name)
        path.write_bytes(read(place))
        yield path


def write(place: str, content: bytes) -> None:
    """Writes a file that is there whole or not at all.

    Args:
        place: the file; it is replaced if it exists. Parent folders are made.
        content: what it shall hold.

    Raises:
        ValueError, OSError: it cannot be written.
    """
    if not is_address(place):
        write_bytes(place, content)
        return
    files, path = _open(place)
    with _asking(place):
        if place.partition(":")[0] in _OBJECT_STORES:
            files.pipe_file(path, content)
            return
        folder = path.rpartition("/")[0]
        files.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/.{uuid.uuid4().hex}.tmp"
        files.pipe_file(temporary, content)
        files.mv(temporary, path)


def read_text(place: str) -> str:
    """What a text file holds; empty where there is none.

    Raises:
        ValueError, OSError: it cannot be read.
    """
    with contextlib.suppress(FileNotFoundError):
        if not is_address(place):
            return Path(place).read_text(encoding="utf-8")
        files, path = _open(place)
        with _asking(place):
            return files.cat_file(path).decode()
    return ""


def remove(place: str) -> None:
    """Removes a file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        if not is_address(place):
            os.unlink(place)
            return
        files, path = _open(place)
        with _asking(place):
            files.rm_file(path)


def stamp(place: str) -> str:
    """What tells this version of a file from every other; empty where there is no file.

    Raises:
        ValueError, OSError: it cannot be told.
    """
    with contextlib.suppress(FileNotFoundError):
        if not is_address(place):
            status = os.stat(place)
            return f"{status.st_size} {status.st_mtime_ns}"
        files, path = _open(place)
        with _asking(place):
            return _stamp(files.info(path))
    return ""


def stamps(folder: str, names: Collection[str]) -> dict[str, str]:
    """The stamps of those files in a folder that are there, by their names.

    Args:
        folder: need not exist.
        names: of files in it, as "trip/a.png".
    """
    if is_address(folder):
        # One list for all: one question for each of a million files would take hours.
        there = _list(folder)
        return {name: _stamp(there[name]) for name in names if name in there}
    found = ask_many(lambda name: stamp(join(folder, name)), names)
    return {name: text for name, text in zip(names, found, strict=True) if text}


def list_names(folder: str) -> list[str]:
    """The names of the files that lie directly in a folder; none where there is no folder."""
    if is_address(folder):
        return sorted(name for name in _list(folder) if "/" not in name)
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def list_files(address: str) -> tuple[Listing, dict[Path, str]]:
    """What lies at an address: a file, a folder at any depth, or what a pattern matches.

    Returns:
        As `imaging.listing.list_files`, with paths such as `Path("s3:/bucket/a.png")`, of which
        `locate` makes addresses again; and the stamps of the images.

    Raises:
        ValueError: it cannot be listed.
    """
    images: dict[Path, str] = {}
    hidden: dict[Path, None] = {}
    others: list[Path] = []
    for name, info in sorted(_list(address).items()):
        path = Path(join(address, name))
        inside = PurePosixPath(name).parts
        left = next((at for at, part in enumerate(inside, 1) if is_hidden(part)), None)
        if left:
            hidden[Path(join(address, "/".join(inside[:left])))] = None
        elif path.suffix.lower() in SUFFIXES:
            images[path] = _stamp(info)
        else:
            others.append(path)
    return Listing(tuple(images), tuple(hidden), tuple(others)), images


def match_files(pattern: str) -> dict[Path, str]:
    """The files that a pattern at an address matches, with their stamps.

    Raises:
        ValueError: it cannot be listed.
    """
    files, path = _open(pattern)
    begin = pattern.removesuffix(path)
    with _asking(pattern):
        found = files.glob(path, detail=True)
    return {
        Path(f"{begin}{path}"): _stamp(info)
        for path, info in sorted(found.items())
        if info["type"] == "file"
    }


def _list(address: str) -> dict[str, dict[str, Any]]:
    """All files under an address and what is known of each; the name of a file itself is ''."""
    files, root = _open(address)
    root = root.rstrip("/")
    try:
        with _asking(address):
            found = files.find(root, detail=True)
    except FileNotFoundError:
        return {}
    return {path[len(root) :].lstrip("/"): info for path, info in found.items()}


def _open(address: str) -> tuple[Any, str]:
    """The file system of an address, and its path there."""
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(address)
    except (ImportError, ValueError) as error:  # s3fs is not installed, or no such protocol
        raise ValueError(f"{address}: {error}") from None


@contextlib.contextmanager
def _asking(address: str) -> Iterator[None]:
    """Makes one line of what file systems raise, which have no class in common."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{address}: {words}") from error


def _stamp(info: dict[str, Any]) -> str:
    version = next((info[name] for name in _VERSIONS if info.get(name)), "")
    if isinstance(version, datetime.datetime):  # a list may have the same time in seconds
        version = version.timestamp()
    return f"{info.get('size')} {version}"
