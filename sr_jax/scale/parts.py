"""Parts of a job: each image belongs to exactly one, by its name alone."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

_TASK = "SLURM_ARRAY_TASK_ID"


@dataclass(frozen=True)
class Part:
    """One of several equal parts.

    Which images are its own follows from their names. So parts need not know of each other, an
    image that comes later moves no other one, and parts are equal but for chance.

    Attributes:
        number: from 1 on.
        count: of the parts.
    """

    number: int
    count: int

    def has(self, name: str) -> bool:
        """Whether an image of this name, unique within the job, belongs to this part."""
        digest = hashlib.sha256(os.fsencode(name)).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


WHOLE = Part(1, 1)


def parse_part(text: str, environment: Mapping[str, str]) -> Part:
    """The part that an option names.

    Args:
        text: '3/8', the third of eight; '8', of eight parts the one of this task of a SLURM array,
            which is SLURM_ARRAY_TASK_ID modulo 8, plus 1; or 'auto', the same with as many parts
            as the array has tasks.
        environment: of the process.

    Raises:
        ValueError: none of these; or no array, or one with gaps, where the array is asked.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match:
        part = Part(int(match[1]), int(match[2]))
        if not part.count:
            raise ValueError(f"--part is {text}, and there is at least one part: 1/1")
        if not 1 <= part.number <= part.count:
            raise ValueError(f"--part is {text}, expected 1/{match[2]} to {match[2]}/{match[2]}")
        return part
    if text != "auto" and not re.fullmatch(r"[1-9]\d*", text):
        raise ValueError(f"--part is {text!r}, expected 3/8 or, in a SLURM array, 8 or auto")
    if _TASK not in environment:
        raise ValueError(
            f"--part {text} is for SLURM arrays, and {_TASK} is not set: give --part i/n"
        )
    count = _tasks(environment) if text == "auto" else int(text)
    return Part(_number(environment, "ID") % count + 1, count)


def _tasks(environment: Mapping[str, str]) -> int:
    """How many tasks an array has whose numbers leave none out."""
    first, last, tasks = (_number(environment, name) for name in ("MIN", "MAX", "COUNT"))
    if last - first + 1 != tasks:
        raise ValueError(
            f"--part auto is for an array without gaps, and this one has {tasks} tasks from "
            f"{first} to {last}: give how many parts there are in all, --part N"
        )
    return tasks


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(f"SLURM_ARRAY_TASK_{name}", "")
    if not value.isdecimal():
        raise ValueError(
            f"SLURM_ARRAY_TASK_{name} is {value!r}, expected a number: give --part i/n"
        )
    return int(value)


def untold_part(environment: Mapping[str, str]) -> str:
    """A line for a task of an array that was not told to do a part; empty where there is none."""
    if environment.get("SLURM_ARRAY_TASK_COUNT", "1") == "1":
        return ""
    return (
        f"note: task {environment.get(_TASK)} of a SLURM array does all images here, and so does "
        "every other task of the same command; --part auto does this task's part"
    )
