"""The pieces of a video that is not finished, in a hidden folder beside its place."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_jax.commands.journal import Journal, stamp
from sr_jax.storage import write_bytes

if TYPE_CHECKING:
    from sr_jax.imaging.film import Packet

# So many frames are encoded together, and so many an interruption costs at most.
PIECE = 24


class Parts:
    """What is done of a video.

    Attributes:
        target: the video's place.
        folder: of the pieces and their journal.
        begun: what an earlier run noted when it began; empty: there was none.
    """

    def __init__(
        self,
        target: Path,
        origin: Callable[[int, int], list[Path]],
        asked: Mapping[str, Any],
        *,
        anew: bool,
    ) -> None:
        """Reads what an earlier run has left; writes nothing.

        Args:
            target: the video's place.
            origin: the files that frames from a number to another are made of.
            asked: what all frames depend on, plain values.
            anew: whether what an earlier run has left, and the target, count for nothing.
        """
        self.target, self._origin, self._asked, self._anew = target, origin, asked, anew
        self.folder = target.with_name(f".{target.name}.parts")
        self._journal = Journal(self.folder / "journal.jsonl", asked)
        self.begun = {} if anew else self._journal.entries.get("begun", {})

    def check(self) -> None:
        """Raises ValueError where something would be lost that this command has not made."""
        if self._anew:
            return
        if self.folder.exists() and not self.begun:
            raise ValueError(
                f"{self.folder} is of an unfinished run with other options, or of an input that "
                "has changed since: give those options to go on, or --overwrite to begin anew"
            )
        if self.target.exists() and self.begun.get("replaces") != stamp(self.target):
            raise ValueError(
                f"{self.target} exists and is not of an unfinished run of this command: give "
                "--overwrite, or another --output"
            )

    @contextlib.contextmanager
    def at_work(self, **entry: Any) -> Iterator[None]:
        """Inside it pieces can be added, by no other process; a folder without any goes at the end.

        Args:
            entry: what is noted when a video is begun, plain values.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with _alone(self.folder / "lock", self.target):
            if self._anew:
                for path in self.folder.glob("*.*"):
                    path.unlink()
                self._journal = Journal(self.folder / "journal.jsonl", self._asked)
            if not self.begun:
                self.begun = {**entry, "replaces": stamp(self.target)}
                self._journal.add("begun", self.begun)
            try:
                yield
            finally:
                if not any(self.folder.glob("*.h264")):
                    shutil.rmtree(self.folder, ignore_errors=True)

    def pieces(self) -> Iterator[tuple[Path, list["Packet"]]]:
        """The files that are done, from the first frame on, and their packets."""
        from sr_jax.imaging.film import Packet

        start = 0
        while entry := self._journal.entries.get(str(start)):
            path = self._place(start)
            packets = [Packet(*values) for values in entry["packets"]]
            size = path.stat().st_size if path.exists() else -1
            if size != sum(packet.size for packet in packets) or entry["of"] != self._of(start):
                return
            yield path, packets
            start += len(packets)

    def add(self, start: int, content: bytes, packets: list["Packet"]) -> None:
        """Keeps the piece that begins with a frame; it is on disk when this returns."""
        write_bytes(self._place(start), content)
        entry = {"packets": packets, "of": self._of(start)}
        self._journal.add(str(start), entry)
        self._journal.entries[str(start)] = entry

    def finish(self, joined: Path) -> None:
        """Puts the video into its place, and removes the pieces."""
        with joined.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(joined, self.target)
        shutil.rmtree(self.folder)

    def _place(self, start: int) -> Path:
        return self.folder / f"{start:08}.h264"

    def _of(self, start: int) -> list[list[int]]:
        return [stamp(path) for path in self._origin(start, start + PIECE)]


@contextlib.contextmanager
def _alone(path: Path, target: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is at work on {target}") from None
        except (OSError, ModuleNotFoundError):  # not every file system and system has locks
            pass
        yield
