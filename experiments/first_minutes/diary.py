"""What a newcomer types on a fresh machine, timed: python -m experiments.first_minutes.diary

In an empty folder: a clone and `make demo`; then the wheel in an empty environment in another
folder, one photo, a smoke training and an evaluation.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments import harness
from sr_jax.data.sources.photos import list_photos
from sr_jax.imaging.files import write_image

MEGABYTE = 1e6


def size(folder: Path) -> float:
    """Megabytes of the files below a folder."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in paths) / MEGABYTE


def commands(place: Path, python: str) -> list[tuple[str, Path, Path | None]]:
    """(command, folder in which it is typed, folder whose megabytes count)."""
    clone, work = place / "sr_jax", place / "elsewhere"
    venv, wheel = work / ".venv", f"{place}/sr_jax/dist/*.whl"
    return [
        (f"git clone {harness.REPOSITORY} sr_jax", place, clone),
        ("make demo", clone, clone / ".venv"),
        (".venv/bin/sr-jax upscale ../photo.jpg --model runs/demo", clone, None),
        (".venv/bin/pip wheel --quiet --no-deps --wheel-dir dist .", clone, clone / "dist"),
        (f"{python} -m venv .venv", work, venv),
        (f".venv/bin/pip install --quiet {wheel}", work, venv),
        (f".venv/bin/sr-jax upscale photo.jpg --model {clone}/runs/demo", work, None),
        (f'.venv/bin/pip install --quiet "$(ls {wheel})[train,plots]"', work, venv),
        (".venv/bin/sr-jax train edsr --smoke", work, None),
        (
            ".venv/bin/sr-jax evaluate --model runs/edsr-smoke --output scores.json photos",
            work,
            None,
        ),
    ]


def main(
    output: Annotated[Path, typer.Option(help="Folder of rows and table.")] = Path(
        "experiments/first_minutes/results"
    ),
    python: Annotated[str, typer.Option(help="The interpreter of the environments.")] = (
        sys.base_prefix + "/bin/python3"
    ),
) -> None:
    """Types all commands, one after the other; the first that fails ends it."""
    rows = harness.Rows(output, table)
    if rows.found:
        raise ValueError(f"{rows.path} exists: remove it to measure anew")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"XDG_CACHE_HOME": "", "PYTHON": python}
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "elsewhere" / "photos").mkdir(parents=True)
        environment["XDG_CACHE_HOME"] = str(place / "cache")
        china = next(pair for pair in list_photos("train", None, ()) if pair.name == "china")
        for where in ("elsewhere/photos/china.png", "elsewhere/photo.jpg", "photo.jpg"):
            write_image(place / where, china.hr())
        for command, where, counted in commands(place, python):
            start = time.perf_counter()
            ended = subprocess.run(
                command, cwd=where, env=environment, shell=True, capture_output=True, text=True
            )
            seconds = time.perf_counter() - start
            if ended.returncode:
                raise ValueError(f"{command} failed:\n{ended.stdout}{ended.stderr}")
            typed = command.replace(str(harness.REPOSITORY), "URL").replace(str(place), "..")
            typed = typed.replace(python, "python3")
            megabytes = size(counted) if counted else None
            last = (ended.stdout + ended.stderr).strip().splitlines()[-1:] or [""]
            found.append({"command": typed, "seconds": seconds, "megabytes": megabytes})
            print(f"{seconds:7.1f} s  {typed}  {last[0][:100]}", flush=True)
    for row in found:
        rows.add(row)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown of the rows."""
    lines = [
        (
            f"`{row['command']}`",
            f"{row['seconds']:.1f}",
            "" if row["megabytes"] is None else f"{row['megabytes']:.0f}",
        )
        for row in rows
    ]
    return "\n".join(harness.table(("typed", "seconds", "MB"), lines))


if __name__ == "__main__":
    typer.run(main)
