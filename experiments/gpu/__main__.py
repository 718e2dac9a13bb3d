"""Everything that a card must prove, in a few minutes.

    python -m experiments.gpu --minutes 7 --data runs/gpu-data --output DIR

Stages run in children, in order of worth, each until its share of the time is over. What was found
is in DIR/results.json after every answer; nothing later can lose it. Without a card the same runs
on the CPU: `--small`.
"""

import dataclasses
import json
import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from experiments.gpu import card, correctness, speed, training
from experiments.gpu.report import write_report
from experiments.gpu.stages import Results, Runner, Stage
from experiments.harness import commit

# Beside PyTorch on one card XLA must not take all of its memory.
MEASURED = ("card", "correctness", "speed")  # what a later run need not do again; trainings go on
CHILDREN = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_CPP_MIN_LOG_LEVEL": "2"}


def main(
    output: Annotated[Path, typer.Option(help="Takes results.json, report.md, log.txt, weights.")],
    data: Annotated[Path | None, typer.Option(help="What `prepare` wrote.")] = None,
    minutes: Annotated[float, typer.Option(help="After which all is over.")] = 7.0,
    small: Annotated[bool, typer.Option(help="A try on a CPU, with small sizes.")] = False,
    earlier: Annotated[
        Path | None, typer.Option(help="results.json of an earlier run: its rows are kept.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Stages; all by default.")] = None,
) -> None:
    """Runs the stages and writes the report."""
    if output.exists() and any(output.iterdir()):  # its weights would be scored as this run's
        kept = f"--earlier {output / 'results.json'} keeps the rows of a run"
        raise typer.BadParameter(f"{output} is not empty: give a new folder; {kept}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the children
    conditions = {"commit": _commit(data), "minutes": minutes, "small": small}
    results = Results(output, conditions)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        stages = {stage.name: stage for stage in list_stages(output, data, scratch, small)}
        if unknown := set(only or ()) - stages.keys():
            raise typer.BadParameter(f"{', '.join(unknown)}: stages are {', '.join(stages)}")
        if earlier:
            results.carry_over(json.loads(earlier.read_text()), MEASURED)
        runner = Runner(results, scratch, 60 * minutes)
        for together in (("card",), ("correctness", "vdsr"), ("speed",), ("edsr_baseline",)):
            chosen = [stages[name] for name in together if name in stages]
            runner.run(*(stage for stage in chosen if not only or stage.name in only))
            write_report(results.found, output / "report.md")


def _commit(data: Path | None) -> str:
    """That of the data, which a machine without git is sent; else of the checkout."""
    written = (data or Path()) / "commit.txt"
    return written.read_text() if written.exists() else commit()


def list_stages(output: Path, data: Path | None, scratch: Path, small: bool) -> list[Stage]:
    """The stages; trainings only where there are data."""
    environment = CHILDREN | {"JAX_COMPILATION_CACHE_DIR": str(scratch / "compiled")}
    folders = {"scratch": str(scratch), "output": str(output.absolute()), "small": small}
    train = folders | {"data": str((data or Path()).absolute())}
    timing = {"small": small, "budget": 0.2 if small else 2.0, "compile_limit": 60.0}
    stages = [
        Stage("card", "experiments.gpu.card", card.ITEMS, 0.12, 60.0, options=folders),
        Stage(
            "correctness",
            "experiments.gpu.correctness",
            correctness.items(small),
            0.4,
            90.0,
            workers=1 if small else 3,
            options=folders,
        ),
        Stage(
            "vdsr",
            "experiments.gpu.training",
            training.ITEMS[:2],
            0.5,
            240.0,
            grace=15.0,
            options=train,
        ),
        Stage("speed", "experiments.gpu.speed", speed.items(small), 0.9, 120.0, options=timing),
        Stage(
            "edsr_baseline",
            "experiments.gpu.training",
            training.ITEMS[2:],
            0.99,
            600.0,
            grace=15.0,
            options=train,
        ),
    ]
    return [
        dataclasses.replace(stage, environment=environment)
        for stage in stages
        if data or stage.module != "experiments.gpu.training"
    ]


if __name__ == "__main__":
    typer.run(main)
