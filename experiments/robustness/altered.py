"""What damaged and nonsensical input does to the commands: python -m experiments.robustness.altered

Every image, weights file and config value goes to the command that a user would type, in a process
of its own. What is counted and what must be 0 is in README.md.
"""

import collections
import dataclasses
import json
import os
import pickle
import random
import re
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors
import safetensors.numpy
import typer
from rich.progress import track

from experiments.harness import REPOSITORY, Rows, table
from experiments.robustness.inputs import (
    SIZE,
    WRONG_VALUES,
    Bomb,
    alter,
    pictures,
    write_model,
)
from experiments.robustness.processes import Ended, fork
from sr_jax import __main__ as commands
from sr_jax.imaging.files import read_image, write_image


def command(*arguments: str | Path) -> Callable[[], object]:
    """A command as typed behind `sr-jax`."""
    return lambda: commands.app([str(argument) for argument in arguments])


def upscale_altered(work: Path, count: int, rng: random.Random) -> Iterator[tuple[str, Ended]]:
    """Images, each in a folder with a sound one."""
    fork(lambda: write_model(work / "model.safetensors"))
    sound = pictures(work / "sound")
    for number in track(range(count), "images"):
        name = sorted(sound)[number % len(sound)]
        folder, out = work / "in", work / "out"
        folder.mkdir()
        (folder / f"bad-{name}").write_bytes(alter(sound[name], rng))
        (folder / "good.png").write_bytes(sound["rgb.png"])
        ended = fork(
            command("upscale", folder, "--model", work / "model.safetensors", "--output", out)
        )
        yield f"image {number} ({name})", _check_folder(ended, out, f"bad-{name}")
        shutil.rmtree(folder)
        shutil.rmtree(out, ignore_errors=True)


def _check_folder(ended: Ended, out: Path, bad: str) -> Ended:
    """Looks at what was written."""
    made = {path.name for path in out.glob("[!.]*")}
    wrong = []
    if "good.png" not in made or read_image(out / "good.png").shape != (2 * SIZE, 2 * SIZE, 3):
        wrong.append("others lost")
    for path in out.glob("[!.]*"):
        read_image(path)
    if len(made) < 2 and len(re.findall(f"error: .*{re.escape(bad)}.*", ended.output)) != 1:
        wrong.append("not told")
    if list(out.glob(".*.tmp")):
        wrong.append("half-written", "nonsense accepted")
    return dataclasses.replace(ended, wrong=tuple(wrong))


def load_altered(work: Path, count: int, rng: random.Random) -> Iterator[tuple[str, Ended]]:
    """Weights files: damaged bytes, nonsense in the metadata, and pickles that run code."""
    good = work / "model.safetensors"
    fork(lambda: write_model(good))
    image = work / "sound" / "rgb.png"
    write_image(image, np.zeros((SIZE, SIZE, 3), np.uint8))
    trace = work / "executed"
    with safetensors.safe_open(good, framework="numpy") as file:
        metadata, tensors = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    nonsense = (None, -1, 0, 1e9, 10**30, 1.5, float("nan"), "x", [], [1] * 9, {}, True, "9" * 5000)
    for number in track(range(count), "weights files"):
        path, kind = work / f"bad-{number}.safetensors", number % 4
        if kind == 0:
            path.write_bytes(alter(good.read_bytes(), rng))
        elif kind == 3:
            path = path.with_suffix(".pth")
            content = {"params": {"a": 1}, "model": Bomb(trace)}
            path.write_bytes(
                alter(pickle.dumps(content), rng) if rng.random() < 0.5 else pickle.dumps(content)
            )
        else:
            fields = json.loads(metadata["hyperparameters"])
            if kind == 1:
                fields[rng.choice([*fields, "depth"])] = rng.choice(nonsense)
                said = json.dumps(fields)
            else:
                said = rng.choice(
                    ("", "[]", "null", "{", json.dumps(fields)[:-5], "[" * 10000, "7")
                )
            changed = metadata | {
                rng.choice(("hyperparameters", "hyperparameters", "architecture")): said
            }
            if rng.random() < 0.2:
                del changed[rng.choice(sorted(changed))]
            safetensors.numpy.save_file(tensors, path, changed)
        out = work / "out"
        ended = fork(command("upscale", image, "--model", path, "--output", out))
        wrong = []
        if trace.exists():
            wrong.append("executed")
            trace.unlink()
        if ended.code and out.exists():
            wrong.append("half-written", "nonsense accepted")
        if ended.code and ended.output.count("error: ") != 1:
            wrong.append("not told")
        yield f"weights file {number}", dataclasses.replace(ended, wrong=tuple(wrong))
        shutil.rmtree(out, ignore_errors=True)
        path.unlink()


def train_wrong(work: Path, count: int, rng: random.Random) -> Iterator[tuple[str, Ended]]:
    """Values of a config, of which every one is wrong; the trainings would be short."""
    from absl import app

    from sr_jax import main

    cases = [(field, value) for field, values in WRONG_VALUES.items() for value in values]
    for field, value in track(rng.sample(cases, min(count, len(cases))), "config values"):
        workdir = work / "run"
        argv = [
            "main",
            "--config=configs/edsr.py:smoke",
            "--config.train.steps=2",
            f"--workdir={workdir}",
            f"--config.{field}={value}",
        ]

        def program(argv: list[str] = argv) -> None:
            sys.argv = argv  # where ml_collections looks
            app.run(main.main, flags_parser=main.parse_flags)

        ended = fork(program)
        wrong = []
        names = {field.split(".")[-1], value or "''", "free: make the network smaller"}
        lines = [line for line in ended.output.splitlines() if line.startswith("error: ")]
        if ended.code and (len(lines) != 1 or not any(n in lines[0] for n in names)):
            wrong.append("not told")
        if not ended.code:
            wrong.append("nonsense accepted")
        if (workdir / "checkpoints").exists():
            wrong.append("half-written", "nonsense accepted")
        yield f"{field}={value}", dataclasses.replace(ended, wrong=tuple(wrong))
        shutil.rmtree(workdir, ignore_errors=True)


def main(
    images: Annotated[int, typer.Option(help="How many altered images.")] = 400,
    weights_files: Annotated[int, typer.Option("--weights", help="Altered weights files.")] = 200,
    values: Annotated[int, typer.Option(help="Wrong values of configs.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the damage.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder of rows and table.")] = Path(
        "experiments/robustness/results"
    ),
) -> None:
    """Writes how many were refused and how many did what must not be; prints each of the latter."""
    os.chdir(REPOSITORY)
    # JAX begins its threads in the copies alone.
    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "0"
    rows = Rows(output, make_table)
    parts = (
        ("images", upscale_altered, images),
        ("weights files", load_altered, weights_files),
        ("config values", train_wrong, values),
    )
    done = []
    for kind, play, count in parts:
        case = {"kind": kind, "seed": seed, "count": count}
        if not count or not rows.missing(case):
            continue
        found: collections.Counter[str] = collections.Counter()
        slowest = most = 0.0
        with tempfile.TemporaryDirectory() as work:
            for name, ended in play(Path(work), count, random.Random(seed)):
                found["refused" if ended.code else "accepted"] += 1
                slowest, most = max(slowest, ended.seconds), max(most, ended.megabytes)
                for failure in ended.failures():
                    found[failure] += 1
                    print(f"{name}: {failure}\n{ended.output.strip()}\n", flush=True)
        done.append(case | {"found": dict(found), "seconds": slowest, "megabytes": most})
    for row in done:  # which begins JAX's threads, to say where this was measured
        rows.add(row)


def make_table(rows: list[dict[str, Any]]) -> str:
    """Markdown of the rows."""
    bad = ("traceback", "hang", "crash", "memory", "not told", "executed", "others lost")
    columns = ("refused", "accepted", *bad, "half-written", "nonsense accepted")
    lines = table(
        ("input", "number", *columns, "slowest, s", "most memory, MB"),
        (
            (
                row["kind"],
                row["count"],
                *(row["found"].get(name, 0) for name in columns),
                f"{row['seconds']:.1f}",
                f"{row['megabytes']:.0f}",
            )
            for row in rows
        ),
    )
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
