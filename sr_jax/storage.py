"""Files that appear whole or not at all."""

import os
import re
import uuid
from pathlib import Path


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path is an address such as gs://bucket/name, which is no file of this machine."""
    return re.match(r"[a-z][a-z0-9+.-]+:/", os.fspath(path), re.IGNORECASE) is not None


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file whole or not at all: under a temporary name beside its place, then renamed.

    Args:
        path: the file; it is replaced if it exists. Parent folders are made.
        content: what it shall hold.

    Raises:
        OSError: the file system refuses.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
