"""Which rows the code leaves as they are: python -m experiments.throughput.unchanged FILE [LATER]

A row's own times are of the program that its commit traced. Where later code traces the same
program, they are its times too. PyTorch's columns do not depend on our code. Nothing is compiled.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments import harness
from experiments.harness import REPOSITORY
from experiments.throughput import results, traced
from experiments.throughput.compare import unpack
from sr_jax.commands import console


def main(
    file: Annotated[Path, typer.Argument(help="Results of experiments.throughput.")],
    later: Annotated[str, typer.Argument(help="A commit; this code if none is given.")] = "",
) -> None:
    """Says of every row with figures whether the later code traces the program that was timed."""
    rows = [row for row in results.read(file)["rows"] if row["ratio"] is not None]
    before: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        now = digests(unpack(later, Path(folder)) if later else REPOSITORY, rows)
        for commit in sorted({row["commit"] for row in rows}):
            of_commit = [row for row in rows if row["commit"] == commit]
            try:
                root = unpack(commit, Path(folder))
            except ValueError:  # such as one with changes that were not committed
                continue
            before |= digests(root, of_commit)
    lines = []
    for row, key in zip(rows, map(key_of, rows), strict=True):
        told = "the same" if now[key] == before.get(key) else "another"
        told = told if key in before else "of no commit here"
        size = "x".join(map(str, (row["batch"], *row["size"])))
        lines.append((row["model"], row["task"], size, row["commit"], told))
    print(*harness.table(("network", "task", "batch x size", "commit", "program"), lines), sep="\n")
    same = sum(line[-1] == "the same" for line in lines)
    print("", f"{same} of {len(rows)} programs are those of {later or 'this code'}.", sep="\n")


def digests(root: Path, rows: list[dict[str, Any]]) -> dict[str, str]:
    """Of the programs that the code in a folder traces, by `key_of` of the rows.

    Raises:
        ValueError: that code does not trace one of them.
    """
    keys = [key_of(row) for row in rows]
    found = subprocess.run(
        [sys.executable, "-P", traced.__file__],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        input="\n".join(keys),
        capture_output=True,
        text=True,
        check=False,
    )
    lines = found.stdout.split()
    if found.returncode or len(lines) != len(keys):
        reason = (found.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ValueError(f"the code of {root.name} does not trace all rows: {reason}")
    return dict(zip(keys, lines, strict=True))


def key_of(row: dict[str, Any]) -> str:
    """What a row is known by."""
    return json.dumps({field: row[field] for field in results.KEY})


if __name__ == "__main__":
    app = typer.Typer(add_completion=False)
    app.command()(main)
    console.run(app)
