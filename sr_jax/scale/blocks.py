"""How many images a worker is given at once."""

from collections.abc import Sequence
from typing import TypeVar

Given = TypeVar("Given")

# What has to be looked at anew when a worker ends, and one file of records.
_MOST = 64
# Blocks that each worker has at least, so that all end at about the same time.
_ROUNDS = 4


def split(images: Sequence[Given], workers: int) -> list[list[Given]]:
    """Images in blocks, in their order."""
    size = max(1, min(_MOST, len(images) // (_ROUNDS * workers)))
    return [list(images[start : start + size]) for start in range(0, len(images), size)]
