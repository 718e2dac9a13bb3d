"""sr_jax against plain PyTorch: python -m experiments.throughput --output FILE.json"""

import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments.harness import commit
from experiments.throughput import report, results
from experiments.throughput.networks import NETWORKS, NINE, Cell, cells, columns
from sr_jax.commands import console


def main(
    output: Annotated[Path, typer.Option(help="JSON file; an unfinished one is gone on with.")],
    quick: Annotated[
        bool, typer.Option(help="The nine at one small size, a few seconds each.")
    ] = False,
    short: Annotated[
        bool,
        typer.Option(help="The nine in training and on images up to 256x256, without memory."),
    ] = False,
    only: Annotated[list[str] | None, typer.Option(help="A network; may be repeated.")] = None,
    fresh: Annotated[
        bool, typer.Option(help="Measure the rows again that the file holds.")
    ] = False,
    budget: Annotated[
        float,
        typer.Option(help="Seconds of timing for a row; three times as many on far cores."),
    ] = 60.0,
    compile_limit: Annotated[
        float, typer.Option(help="Seconds for PyTorch's compiler, of each column.")
    ] = 1200.0,
) -> None:
    """Times every network on both sides; writes the rows, and a table and plots beside them."""
    unknown = sorted(set(only or ()) - NETWORKS.keys())
    if unknown:
        raise ValueError(f"unknown network {', '.join(unknown)}; known are {', '.join(NETWORKS)}")
    if quick and short:
        raise ValueError("--quick and --short exclude each other")
    models = only or list(NINE if quick or short else NETWORKS)
    environment = ask({"ask": "environment"})
    accelerator = environment["backend"] != "cpu"
    limits = {"budget": 3.0 if quick else budget, "compile": 20.0 if quick else compile_limit}
    if not accelerator:
        limits |= {"seconds": 60.0, "bytes": 18e9}
    conditions = environment | {"limits": limits, "quick": quick}
    if short:
        conditions["short"] = True
    found = results.start(output, conditions, fresh=models if fresh else ())
    for cell in cells(models, quick=quick, short=short, accelerator=accelerator):
        if results.find(found, cell) is None and not superfluous(found, cell):
            row = measure(cell, limits, quick=quick, short=short) | {"commit": commit()}
            results.store(output, found, cell, row)
            print(report.line(row), flush=True)
    for path in report.write(output):
        print(path)
    failed = [row for row in found["rows"] if row["ours"]["status"].startswith("failed")]
    if failed:
        raise ValueError(f"{len(failed)} rows failed; the same command tries them again")


def superfluous(found: dict[str, Any], cell: Cell) -> bool:
    """Whether the row that this cell stands in for could be measured."""
    preferred = cell.instead and results.find(found, cell.instead)
    return bool(preferred) and preferred["ratio"] is not None


def measure(
    cell: Cell, limits: dict[str, float], *, quick: bool = False, short: bool = False
) -> dict[str, Any]:
    """Times a row in a process of its own, and each column's memory in another.

    Args:
        cell: what to measure.
        limits: see `row.Limits`.
        quick, short: without memory and the columns that take longest.
    """
    # Compiled programs are kept from the first process for those that follow, and no longer.
    with tempfile.TemporaryDirectory() as cache:
        request: dict[str, Any] = {"cell": cell.key(), "limits": limits}
        brief = quick or short
        without = [name for name in columns(cell) if brief and takes_long(cell, name)]
        if short:
            without += [name for name in columns(cell) if name.startswith("official.")]
        try:
            at_best = machine(cell.dtype) if quick else None
            row = ask(request | {"ask": "row", "without": without, "at_best": at_best}, cache)
            for name in () if brief else columns(cell):
                entry = results.entry_of(row, name)
                if entry["status"] == "measured":
                    column = {"column": name, "layout": entry["layout"]}
                    entry |= ask(request | {"ask": "memory"} | column, cache)
        except MemoryError:
            return results.without_figures(cell, "out of memory")
        except RuntimeError as error:
            return results.without_figures(cell, f"failed: {error}")
    return row


@functools.cache
def machine(dtype: str) -> dict[str, Any]:
    """What the machine can do at best, measured once for all rows of a quick run."""
    answer: dict[str, Any] = ask({"ask": "machine", "dtype": dtype})
    return answer


def takes_long(cell: Cell, column: str) -> bool:
    """Whether a shorter run leaves a column out, as its engine or compiler takes too long."""
    compiled = column.endswith(".compiled")
    return column.startswith("reduced.") or (cell.network.slow_to_compile and compiled)


def ask(request: dict[str, Any], cache: str | None = None) -> dict[str, Any]:
    """The answer of `experiments.throughput.row`, run as a process.

    Raises:
        MemoryError: the system ended the process, which Linux does when memory is short.
        RuntimeError: it failed; the last line that it printed.
    """
    settings = {
        "JAX_ENABLE_COMPILATION_CACHE": "0",  # compile times are of compiling
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # leaves memory to PyTorch
    }
    if "cell" in request:
        settings["JAX_NUM_CPU_DEVICES"] = str(len(os.sched_getaffinity(0)))  # for `per_core`
    if cache:
        settings["TORCHINDUCTOR_CACHE_DIR"] = cache
    command = [sys.executable, "-m", "experiments.throughput.row", json.dumps(request)]
    child = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | settings, check=False
    )
    if child.returncode == -9:
        raise MemoryError
    if child.returncode:
        lines = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
        raise RuntimeError(lines[-1])
    return json.loads(child.stdout.splitlines()[-1])


if __name__ == "__main__":
    app = typer.Typer(add_completion=False)
    app.command()(main)
    console.run(app)
