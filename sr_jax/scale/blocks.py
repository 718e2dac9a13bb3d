"""Images that a worker is given at once, and the workers that end within them."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

Given = TypeVar("Given")

# What has to be looked at anew when a worker ends, and one file of records.
_MOST = 64
# Blocks that each worker has at least, so that all end at about the same time.
_ROUNDS = 4
ENDED = "a worker ended while it was done; the same command tries it again"


class Block(NamedTuple, Generic[Given]):
    """Images of one worker, one after the other.

    Attributes:
        name: that no other block has, of whatever run.
        items: the images.
    """

    name: str
    items: list[Given]


def split(items: Sequence[Given], workers: int) -> list[Block[Given]]:
    """Images in blocks, in their order."""
    size, run = max(1, min(_MOST, len(items) // (_ROUNDS * workers))), uuid.uuid4().hex[:12]
    return [
        Block(f"{run}-{start // size}", list(items[start : start + size]))
        for start in range(0, len(items), size)
    ]


class Watch:
    """Knows which blocks workers have ended within, and at which image.

    A worker that is given a block for the first time takes its images as it likes. Each further one
    takes them one by one and says at which it is. One at which a worker has ended is left out.
    """

    def __init__(self) -> None:
        self._tries: Counter[str] = Counter()
        self._at: dict[str, str] = {}
        self._ended: defaultdict[str, list[str]] = defaultdict(list)

    def begin(self, block: str) -> tuple[int, list[str]]:
        """Of a block that is given to a worker: how often it was, and what is left out."""
        self._tries[block] += 1
        if name := self._at.pop(block, ""):
            self._ended[block].append(name)
        return self._tries[block], self._ended[block]

    def at(self, block: str, name: str) -> None:
        """Notes which image of a block comes next, alone; "": it is done."""
        self._at[block] = name
