"""Compiles the networks for devices that are not there, and writes what they became.

    python -m experiments.programs --platform gpu --python GPU_VENV/bin/python

runs one process of `experiments.programs.compile` for each program, in the environment that has
XLA's compiler for the platform, and keeps each row when it is there: a second run does what is
missing. It needs no device. Then it writes results/<platform>.md.
"""

import itertools
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Annotated

import typer

from experiments.programs.compile import RECIPES, TASKS
from experiments.programs.report import write_report

RESULTS = Path(__file__).with_name("results")
REPOSITORY = Path(__file__).resolve().parents[2]
# libtpu asks the cloud's metadata server for these, and waits for an answer.
ENVIRONMENT = {
    "gpu": {"JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1", "JAX_PLATFORMS": "cpu"},
    "tpu": {
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "JAX_PLATFORMS": "cpu",
    },
}
FORMS = ("ours", "textbook")


def main(
    python: Annotated[Path, typer.Option(help="Of the environment that compiles.")],
    platform: Annotated[str, typer.Option(help="gpu or tpu.")] = "gpu",
    only: Annotated[list[str] | None, typer.Option(help="Networks; all by default.")] = None,
    task: Annotated[list[str] | None, typer.Option(help="train, forward; both.")] = None,
    dtype: Annotated[list[str] | None, typer.Option(help="float32, bfloat16; both.")] = None,
    form: Annotated[list[str] | None, typer.Option(help="ours, textbook; both.")] = None,
    chips: Annotated[list[int] | None, typer.Option(help="Devices that share a batch.")] = None,
    limit: Annotated[float, typer.Option(help="Seconds of one program.")] = 900.0,
    results: Annotated[Path, typer.Option(help="Takes one JSON file a program.")] = RESULTS,
    fresh: Annotated[bool, typer.Option(help="Compile again what is there.")] = False,
) -> None:
    """Compiles what is missing, and writes the table."""
    if platform not in ENVIRONMENT:
        raise typer.BadParameter(f"{platform!r}: known are {', '.join(ENVIRONMENT)}")
    if unknown := set(only or ()) - RECIPES.keys():
        raise typer.BadParameter(f"{', '.join(unknown)}: known are {', '.join(RECIPES)}")
    folder = results / platform
    folder.mkdir(parents=True, exist_ok=True)
    programs = itertools.product(
        form or FORMS, chips or [1], dtype or ["float32", "bfloat16"], task or TASKS
    )
    missing = 0
    for (how, count, kind, what), name in itertools.product(list(programs), only or RECIPES):
        row = folder / f"{name}-{what}-{kind}-{how}-{count}.json"
        if row.exists() and not fresh:
            continue
        print(f"{row.stem} ...", end=" ", flush=True)
        start = time.perf_counter()
        outcome = compile_row(python, platform, [name, what, kind, how, str(count)], row, limit)
        print(outcome or f"{time.perf_counter() - start:.0f} s", flush=True)
        missing += bool(outcome)
    rows = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    write_report(rows, platform, results / f"{platform}.md")
    if missing:
        raise SystemExit(f"{missing} of the programs were not compiled: see beside their names")


def compile_row(python: Path, platform: str, which: list[str], row: Path, limit: float) -> str:
    """Runs the compiler's process; says in one line why there is no row, '' if there is one."""
    name, task, dtype, form, chips = which
    module = ["-m", "experiments.programs.compile", name, task, dtype, form, platform, chips]
    environment = os.environ | ENVIRONMENT[platform] | {"PYTHONPATH": str(REPOSITORY)}
    try:
        done = subprocess.run(
            [str(python), *module, str(row)],
            env=environment,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return f"not compiled within {limit:.0f} s"
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return f"failed: {lines[-1][:200]}"


if __name__ == "__main__":
    typer.run(main)
