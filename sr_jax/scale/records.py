"""What is done of a job, in small files of a hidden folder beside the results.

Each block of images has one file, which its worker writes twice: before the block is begun, with
what it is about to write, and when it is done. So nothing is asked of a million images but one list
of the results, and parts and workers never write the same file. Of a block whose worker has ended
it is known which results are whole: those that are there and were not there before.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from sr_jax.scale import places
from sr_jax.scale.blocks import Block


class Item(NamedTuple):
    """An image of a job.

    Attributes:
        source: where it lies.
        target: the name of its result in the output folder.
        stamp: of the image.
        before: the stamp of what lies where its result will be; empty: nothing does.
    """

    source: str
    target: str
    stamp: str = ""
    before: str = ""

    @property
    def origin(self) -> str:
        """What the result is made of, in a few letters."""
        return hashlib.sha256(os.fsencode(f"{self.source}\n{self.stamp}")).hexdigest()[:16]


class Sorted(NamedTuple):
    """The images of a job: see `Records.sort`."""

    todo: list[Item]
    finished: list[Item]
    strange: list[Item]


class Records:
    """The files of a job."""

    def __init__(self, output: str, asked: Mapping[str, Any]) -> None:
        """Names their folder; writes nothing.

        Args:
            output: where the results lie.
            asked: what all results depend on, plain values.
        """
        text = json.dumps(asked, sort_keys=True, default=str)
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.output, self.folder = output, places.join(output, f".sr_jax-{name}")

    def sort(self, items: Iterable[Item]) -> Sorted:
        """What is to be done, what is done, and what would replace a file that is not of this job.

        A result is done if it is there, made of the same version of the same image.
        """
        past = self._read()
        found = Sorted([], [], [])
        for item in items:
            times = past.get(item.target, ())
            if item.before and any(
                origin == item.origin and (done or before != item.before)
                for origin, before, done in times
            ):
                found.finished.append(item)
            elif item.before and not times:
                found.strange.append(item)
            else:
                found.todo.append(item)
        return found

    def begin(self, block: Block[Item]) -> set[str]:
        """Notes that a worker begins with a block; returns the targets that it finds written.

        These are of a worker that has ended.
        """
        done: set[str] = set()
        if self.has(block.name):
            targets = (places.join(self.output, item.target) for item in block.items)
            there = zip(block.items, places.ask_many(places.stamp, targets), strict=True)
            done = {item.target for item, stamp in there if stamp not in ("", item.before)}
        self.note(block, done)
        return done

    def has(self, block: str) -> bool:
        """Whether there is a file of the block of this name."""
        return bool(places.stamp(self._place(block)))

    def note(self, block: Block[Item], done: Collection[str]) -> None:
        """Writes what is known of a block: what it is about, and the targets that are written."""
        begun = {item.target: [item.origin, item.before] for item in block.items}
        content = {"begun": begun, "done": sorted(done)}
        places.write(self._place(block.name), json.dumps(content).encode())

    def _read(self) -> dict[str, list[tuple[str, str, bool]]]:
        """Target -> (origin, before, whether it was done) of every time that it was begun."""
        names = [name for name in places.list_names(self.folder) if name.endswith(".json")]
        found: dict[str, list[tuple[str, str, bool]]] = {}
        files = (places.join(self.folder, name) for name in names)
        for known in map(_parse, places.ask_many(places.read_text, files)):
            done = set(known.get("done", ()))
            for target, (origin, before) in known.get("begun", {}).items():
                found.setdefault(target, []).append((origin, before, target in done))
        return found

    def _place(self, name: str) -> str:
        return places.join(self.folder, f"{name}.json")


def _parse(text: str) -> dict[str, Any]:
    """What a file of a block says; nothing where it is none, so that its images are done anew."""
    try:
        known = json.loads(text)
    except ValueError:
        return {}
    whole = isinstance(known, dict) and {"begun", "done"} <= known.keys()
    return known if whole else {}
