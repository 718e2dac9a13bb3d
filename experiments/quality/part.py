"""One part of a long training: python -m experiments.quality.part NAME --minutes 50

A training of recipes/NAME.py goes on from the last part, stops after so many minutes and leaves the
newest checkpoint as a small archive, from which the next part goes on, on this or another machine.
What each part did is a row of results/NAME.json, the curves are in results/NAME.csv.
"""

import csv
import io
import os
import runpy
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from ml_collections import ConfigDict

from experiments import harness
from experiments.quality.prepare import prepare
from sr_jax.commands.runs import read_run
from sr_jax.storage import write_bytes

FOLDER = Path(__file__).parent
MOST = 5_000_000  # bytes of an archive that the repository takes
KEPT = ("config.json", "best.json", "weights-best.safetensors")


def list_recipes() -> list[str]:
    """The names of the files in recipes/."""
    return sorted(path.stem for path in (FOLDER / "recipes").glob("[!_]*.py"))


def load_config(name: str) -> ConfigDict:
    """The config of recipes/NAME.py.

    Raises:
        ValueError: there is no such recipe; the message lists them.
    """
    known = list_recipes()
    if name not in known:
        raise ValueError(f"no recipe {name}; there are {', '.join(known)}")
    path = FOLDER / "recipes" / f"{name}.py"
    config: ConfigDict = runpy.run_path(str(path))["get_config"]()
    return config


def unpack(archive: Path, workdir: Path) -> None:
    """Brings back what the last part left, unless the workdir is there."""
    if archive.exists() and not (workdir / "checkpoints").exists():
        workdir.mkdir(parents=True, exist_ok=True)
        # Python has filters since 3.11.4.
        only: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        with tarfile.open(archive) as file:
            file.extractall(workdir, **only)


def pack(workdir: Path, archive: Path) -> int | None:
    """Archives the newest checkpoint and what belongs to it.

    Returns:
        The bytes; None where they are more than the repository takes, so that only this machine
        can go on.
    """
    steps = [int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*")]
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:xz") as file:
        for name in (*KEPT, f"checkpoints/{max(steps)}"):
            if (workdir / name).exists():
                file.add(workdir / name, name)
    size = content.tell()
    if size > MOST:
        print(f"{size:,} bytes are too many for {archive}: {workdir} alone can go on")
        return None
    write_bytes(archive, content.getvalue())
    return size


def train(recipe: Path, workdir: Path, minutes: float) -> bool:
    """Trains for so many minutes, or until SIGTERM. Returns whether the training has finished.

    Raises:
        ValueError: it failed, or was ended before it could save.
    """
    command = [sys.executable, "-m", "sr_jax.main", f"--config={recipe}", f"--workdir={workdir}"]
    process = subprocess.Popen(command, cwd=harness.REPOSITORY)
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        code = process.wait(60 * minutes)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        code = process.wait(600)
    finally:
        signal.signal(signal.SIGTERM, before)
    if code == -signal.SIGTERM:
        raise ValueError("the training was ended before it could save: give it more --minutes")
    if code not in (0, 128 + signal.SIGTERM):
        raise ValueError(f"the training ended with {code}")
    return code == 0


def merge_curves(path: Path, workdir: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Adds the curves of this part to those of the parts before it. Returns them all."""
    curves: dict[str, dict[int, float]] = {}
    if path.exists():
        with path.open() as file:
            for row in csv.DictReader(file):
                curves.setdefault(row["curve"], {})[int(row["step"])] = float(row["value"])
    for name, (steps, values) in read_run(workdir, workdir).curves.items():
        if name == "train/loss" or "psnr_x" in name:
            curves.setdefault(name, {}).update(zip(steps, values, strict=True))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("curve", "step", "value"))
    for name in sorted(curves):
        writer.writerows((name, step, f"{curves[name][step]:.6g}") for step in sorted(curves[name]))
    write_bytes(path, table.getvalue().encode())
    return {name: (sorted(c), [c[step] for step in sorted(c)]) for name, c in curves.items()}


def main(
    name: Annotated[str, typer.Argument(help="Of a file in recipes/.")],
    minutes: Annotated[float, typer.Option(help="After which this part stops.")] = 50,
    workdir: Annotated[Path | None, typer.Option(help="Default: runs/quality/NAME.")] = None,
) -> None:
    """Trains one part, and leaves its row, its curves and what the next one goes on from."""
    prepare(load_config(name))
    recipe = FOLDER / "recipes" / f"{name}.py"
    workdir = (workdir or Path("runs/quality") / name).absolute()
    archive = FOLDER / "state" / f"{name}.tar.xz"
    rows = harness.Rows(FOLDER / "results", table, name)
    unpack(archive, workdir)
    start = time.time()
    finished = train(recipe.relative_to(harness.REPOSITORY), workdir, minutes)
    spent = (time.time() - start) / 60
    curves = merge_curves(FOLDER / "results" / f"{name}.csv", workdir)
    steps, losses = curves["train/loss"]
    row: dict[str, Any] = {"part": len(rows.found) + 1, "minutes": spent, "step": steps[-1]}
    row |= {"loss": losses[-1], "cores": len(os.sched_getaffinity(0))}
    for curve, (_, values) in curves.items():
        if curve.startswith("validation/psnr"):
            row[curve.removeprefix("validation/")] = values[-1]
    if finished:
        archive.unlink(missing_ok=True)
    else:
        row["archive_bytes"] = pack(workdir, archive)
    rows.add(row | {"finished": finished})


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown of the parts of a training."""
    scales = sorted({name for row in rows for name in row if name.startswith("psnr_")})
    head = [
        "part",
        "minutes",
        "cores",
        "up to step",
        "loss",
        *(f"PSNR x{name[-1]}" for name in scales),
    ]
    lines = [
        [
            row["part"],
            f"{row['minutes']:.0f}",
            row["cores"],
            row["step"],
            f"{row['loss']:.3g}",
            *(f"{row[name]:.2f}" if name in row else "" for name in scales),
        ]
        for row in rows
    ]
    return "\n".join(harness.table(head, lines))


if __name__ == "__main__":
    typer.run(main)
