"""What experiments share: rows that are kept, their table, turns, and where all was measured."""

import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sr_jax.storage import write_bytes

MEGABYTE = 2**20
REPOSITORY = Path(__file__).resolve().parents[1]
CODE = ("sr_jax/*.py", "experiments/*.py", "configs/*.py")

MIN_ROUNDS = 3
PAUSE = 0.01  # seconds in which the other library's threads stop spinning
TURN = 0.25  # seconds that a contender runs before the next one does
LONG_RUN = 5.0  # seconds of a run that needs no other one before it to warm up


class Rows:
    """The rows of an experiment in FOLDER/NAME.json, one a line, and their table in NAME.md.

    A run that was stopped goes on where it was: it asks for each case whether it is `missing`.
    """

    def __init__(
        self, folder: Path, table: Callable[[list[dict[str, Any]]], str], name: str = "rows"
    ) -> None:
        """Reads what an earlier run has left.

        Args:
            folder: is made with the first row.
            table: makes Markdown of the rows.
            name: of the two files, without suffix.
        """
        self.path = folder / f"{name}.json"
        self.table = table
        self.found: list[dict[str, Any]] = []
        if self.path.exists():
            self.found = json.loads(self.path.read_text())

    def missing(self, case: Mapping[str, Any]) -> bool:
        """Whether no row has all fields of the case."""
        return not any(case.items() <= row.items() for row in self.found)

    def add(self, row: dict[str, Any]) -> None:
        """Adds a row and where it was measured, writes both files and prints the row."""
        self.found.append(row | {"environment": environment()})
        write_bytes(self.path, one_a_line(self.found).encode())
        self.write_table()
        print(json.dumps(row), flush=True)

    def write_table(self) -> None:
        """Writes the table, and below it where its rows were measured."""
        places = sorted({row["environment"] for row in self.found if "environment" in row})
        page = "\n".join([self.table(self.found), *(["", *places] if places else [])])
        write_bytes(self.path.with_suffix(".md"), f"{page}\n".encode())


def one_a_line(rows: Iterable[Mapping[str, Any]]) -> str:
    """A JSON list with a line for each row."""
    lines = ",\n".join(map(json.dumps, rows))
    return f"[\n{lines}\n]\n"


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """The lines of a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(map(str, line))} |" for line in lines]


def summary(samples: Sequence[float]) -> dict[str, Any]:
    """What is kept of repeated measurements: `median`, `min`, `max`, `quartiles` and `runs`."""
    quartiles = statistics.quantiles(samples, n=4, method="inclusive") if samples[1:] else samples
    return {
        "median": statistics.median(samples),
        "min": min(samples),
        "max": max(samples),
        "quartiles": [quartiles[0], quartiles[-1]],
        "runs": len(samples),
    }


def interleave(
    runs: Mapping[str, Callable[[], Any]],
    budget: float,
    *,
    min_rounds: int = MIN_ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Gives every contender a turn in each round, until the budget is spent.

    So whatever else the machine does meanwhile falls on all of them. In its turn a contender runs
    again and again for a quarter of a second; the first run, which finds the caches full of the
    others' data, their threads awake and its own memory given back to the system, does not count
    unless it is a long one.

    Args:
        runs: each waits for its own result; they have been warmed up.
        budget: seconds, of all of them together.
        min_rounds: that many in any case.
        clock: seconds.

    Returns:
        Seconds of every run, by name.
    """
    samples: dict[str, list[float]] = {name: [] for name in runs}
    begin, rounds = clock(), 0
    while rounds < min_rounds or clock() - begin < budget:
        for name, run in runs.items():
            time.sleep(PAUSE)
            turn = clock()
            run()
            end = clock()
            if end - turn >= LONG_RUN:
                samples[name].append(end - turn)
                continue
            while True:
                start = clock()
                run()
                end = clock()
                samples[name].append(end - start)
                if end - turn >= TURN:
                    break
        rounds += 1
    return samples


def ask(module: str, request: Any, variables: Mapping[str, str | None] | None = None) -> Any:
    """Measures in a process of its own.

    Args:
        module: its command takes `--output`, which it does not use here, and `--run`.
        request: the value of `--run`, as JSON.
        variables: of the process's environment; None takes one away.

    Returns:
        The last line that the process prints, read as JSON.
    """
    env: dict[str, str | None] = {**os.environ, **(variables or {})}
    command = [sys.executable, "-m", module, "--output", ".", "--run", json.dumps(request)]
    printed = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={name: value for name, value in env.items() if value is not None},
    ).stdout
    return json.loads(printed.splitlines()[-1])


def resident(field: str) -> int:
    """Bytes of this process by Linux's account: `VmRSS` now, `VmHWM` at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """Makes Linux count `VmHWM` anew."""
    Path("/proc/self/clear_refs").write_text("5")


def physical_memory() -> int:
    """Bytes that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def environment() -> str:
    """Hardware, versions, commit and day in one line."""
    import jax  # here, so that a parent that only asks its children does without

    device = jax.devices()[0]
    memory = physical_memory() / 2**30
    cores, free = os.cpu_count(), len(os.sched_getaffinity(0))
    cores = f"{cores}" if free == cores else f"{free} of {cores}"
    cpu = f"{cores} CPU cores ({platform.machine()}), {memory:.0f} GiB"
    versions = (f"{name} {importlib.metadata.version(name)}" for name in ("jax", "flax", "numpy"))
    return (
        f"{cpu if device.platform == 'cpu' else device.device_kind}; "
        f"Python {platform.python_version()}, {', '.join(versions)}; "
        f"commit {commit()}, {datetime.date.today()}"
    )


def commit() -> str:
    """The last commit that changed code, with a + where the checkout's differs.

    Rows keep their commit while results and texts are committed between them.
    """
    if not shutil.which("git"):
        return "unknown"
    head, changes = (
        subprocess.run(
            ["git", *arguments], capture_output=True, text=True, cwd=REPOSITORY, check=False
        ).stdout.strip()
        for arguments in (
            ("log", "-1", "--format=%h", "--", *CODE),
            ("status", "--porcelain", "-uno", "--", *CODE),
        )
    )
    return (head or "unknown") + ("+" if changes else "")
