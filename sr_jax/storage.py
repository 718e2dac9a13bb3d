"""Files that appear whole or not at all."""

import hashlib
import os
import re
import uuid
from collections.abc import Iterable
from pathlib import Path


def check_local(name: str, path: str | os.PathLike[str]) -> None:
    """Raises ValueError for an address such as gs://bucket/run, which is no path of this machine.

    Args:
        name: of the option or argument that has it.
        path: a file or folder.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/", os.fspath(path), re.IGNORECASE):
        raise ValueError(
            f"{name} {path} is no path of this machine: mount the bucket and name its folder"
        )


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file whole or not at all, see `write_parts`.

    Args:
        path: the file; it is replaced if it exists. Parent folders are made.
        content: what it shall hold.

    Raises:
        OSError: the file system refuses.
    """
    write_parts(path, [content])


def write_parts(path: str | os.PathLike[str], parts: Iterable[bytes]) -> None:
    """Writes a file whole or not at all: under a temporary name beside its place, then renamed.

    Args:
        path: the file; it is replaced if it exists. Parent folders are made.
        parts: what it shall hold, one after the other. What they raise leaves nothing behind.

    Raises:
        OSError: the file system refuses.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
