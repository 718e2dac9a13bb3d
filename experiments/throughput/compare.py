"""Code against an earlier commit's: python -m experiments.throughput.compare EARLIER [LATER]

Both run the same step of a network, each in a process of its own, turn by turn. The page is
printed, and written where `--output` says.
"""

import io
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from experiments import harness
from experiments.harness import REPOSITORY
from sr_jax.storage import write_bytes

# Network, task, batch, side of the images at the network's input.
CASES = (
    ("srcnn", "train", 16, 33),
    ("vdsr", "train", 4, 41),
    ("srresnet", "train", 4, 24),
    ("srresnet", "inference", 1, 96),
    ("vdsr", "inference", 1, 256),
    ("edsr_baseline", "train", 4, 48),
    ("rcan", "train", 1, 24),
    ("rcan", "inference", 1, 48),
    ("csnln", "inference", 1, 32),
)

# Run with each commit's own code, so that it names only what both have.
WORKER = """
import sys, time
import jax, numpy as np
from experiments.throughput import ours
from experiments.throughput.networks import cells
from sr_jax.models import example_images

name, task, batch, side = *sys.argv[1:3], *map(int, sys.argv[3:])
cell = next(c for c in cells([name], quick=True, accelerator=False) if c.task == task)
factor = 1 if cell.network.interpolated else cell.network.scale
draw = np.random.default_rng(0).random
images, targets = (
    draw((batch, size, size, cell.network.n_colors), dtype=np.float32)
    for size in (side, factor * side)
)
model = ours.model_of(cell)
network = ours.Side(model, model.init(jax.random.key(0), example_images(model)))
if task == "train":
    step = ours.training(cell, (network,), images, targets, 1.0)
else:
    step = ours.inference(cell, network, images)
step.run()
for line in sys.stdin if print("ready", flush=True) is None else ():
    start = time.perf_counter()
    for _ in range(int(line)):
        step.run()
    print((time.perf_counter() - start) / int(line), flush=True)
"""


class Worker:
    """A process that runs one case with the code of one folder."""

    def __init__(self, root: Path, case: tuple[str, str, int, int]) -> None:
        settings = {"PYTHONPATH": str(root), "JAX_ENABLE_COMPILATION_CACHE": "0"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *map(str, case)],
            cwd=root,
            env=os.environ | settings,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._read() != "ready":
            raise ValueError(f"{case[0]} {case[1]} does not run with the code of {root}")

    def seconds(self, runs: int) -> float:
        """Of a run, the mean of so many."""
        assert self._process.stdin
        self._process.stdin.write(f"{runs}\n")
        self._process.stdin.flush()
        return float(self._read())

    def end(self) -> None:
        """Stops the process."""
        self._process.kill()
        self._process.wait()

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def main(
    earlier: Annotated[str, typer.Argument(help="A commit.")],
    later: Annotated[str, typer.Argument(help="Another one; this code if none is given.")] = "",
    only: Annotated[list[str] | None, typer.Option(help="A network; may be repeated.")] = None,
    rounds: Annotated[int, typer.Option(help="Turns of each side.")] = 15,
    turn: Annotated[float, typer.Option(help="Seconds of a turn.")] = 0.7,
    output: Annotated[Path | None, typer.Option(help="The page, in Markdown.")] = None,
) -> None:
    """How many times as fast the later code is, the median of the turns."""
    lines: list[str] = []

    def tell(*more: str) -> None:
        lines.extend(more)
        print(*more, sep="\n", flush=True)

    head = ("network", "task", "batch x side", "earlier, ms", "later, ms", "times as fast", "turns")
    tell(*harness.table(head, ()))
    with tempfile.TemporaryDirectory() as folder:
        roots = [unpack(name, Path(folder)) if name else REPOSITORY for name in (earlier, later)]
        for case in CASES:
            if not only or case[0] in only:
                tell(compare(roots, case, rounds, turn))
    tell("", f"{earlier} against {later or 'this code'}. {harness.environment()}")
    if output:
        write_bytes(output, "\n".join([*lines, ""]).encode())


def unpack(commit: str, folder: Path) -> Path:
    """The code of a commit, in a folder of its own below this one.

    Raises:
        ValueError: git knows no such commit.
    """
    command = ["git", "-C", str(REPOSITORY), "archive", commit]
    found = subprocess.run(command, capture_output=True, check=False)
    if found.returncode:
        raise ValueError(f"git has no commit {commit}: {found.stderr.decode().strip()}")
    root = folder / commit.replace("/", "_")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as files:
        files.extractall(root, filter="data")
    return root


def compare(
    roots: Sequence[Path], case: tuple[str, str, int, int], rounds: int, turn: float
) -> str:
    """The row of a case, with the code of two folders."""
    workers = [Worker(root, case) for root in roots]
    try:
        runs = max(1, round(turn / max(worker.seconds(1) for worker in workers)))
        times: list[tuple[float, float]] = []
        for number in range(rounds):
            order = workers if number % 2 else workers[::-1]
            found = {worker: worker.seconds(runs) for worker in order}
            times.append((found[workers[0]], found[workers[1]]))
    finally:
        for worker in workers:
            worker.end()
    ratios = sorted(before / now for before, now in times)
    before, now = (1000 * statistics.median(side) for side in zip(*times, strict=True))
    name, task, batch, side = case
    return (
        f"| {name} | {task} | {batch} x {side} | {before:.1f} | {now:.1f} | "
        f"{statistics.median(ratios):.3f} | {ratios[0]:.2f} to {ratios[-1]:.2f} |"
    )


if __name__ == "__main__":
    typer.run(main)
