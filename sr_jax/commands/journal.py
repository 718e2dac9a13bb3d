"""What an unfinished command has done, so that the same command can go on."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Journal:
    """A file of JSON lines: what was asked for, then an entry for everything that is done.

    Entries are on disk when `add` returns. The file goes when all is done and no more will come.

    Attributes:
        entries: key -> entry, of an earlier run that asked for the same.
    """

    def __init__(self, path: Path, asked: Mapping[str, Any]) -> None:
        """Reads what an earlier run has left, if it asked for the same; writes nothing.

        Args:
            path: the file.
            asked: what the results depend on, plain values.
        """
        self._path, self._asked = path, _text(asked)
        self.entries: dict[str, dict[str, Any]] = {}
        self._goes_on = False
        try:
            first, *rest = path.read_text().split("\n")
        except OSError:
            return
        self._goes_on = first == self._asked
        for line in rest if self._goes_on else ():
            try:
                entry = json.loads(line)
                self.entries[entry.pop("key")] = entry
            except (ValueError, KeyError, TypeError, AttributeError):
                pass  # the last line of a run that was killed

    def add(self, key: str, entry: Mapping[str, Any]) -> None:
        """Notes that something is done."""
        self.add_all({key: entry})

    def add_all(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Notes that several things are done."""
        begin = "" if self._goes_on else self._asked
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lines = (f"\n{json.dumps({'key': key, **entry})}" for key, entry in entries.items())
        with self._path.open("a" if self._goes_on else "w") as file:
            file.write(begin + "".join(lines))
            file.flush()
            os.fsync(file.fileno())
        self._goes_on = True

    def close(self) -> None:
        """Removes the file: all is done."""
        self._path.unlink(missing_ok=True)


def journal_path(folder: Path, asked: Mapping[str, Any]) -> Path:
    """The file of a request in a folder where several commands may be at work."""
    return folder / f".sr_jax-{hashlib.sha256(_text(asked).encode()).hexdigest()[:8]}.jsonl"


def _text(asked: Mapping[str, Any]) -> str:
    return json.dumps(asked, sort_keys=True, default=str)


def stamp(path: str | Path) -> list[int]:
    """Size and time of a file; empty where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]
