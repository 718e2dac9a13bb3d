"""Memory of the training step, with and without rematerialisation (`train.remat`).

    python -m experiments.memory.training --output experiments/memory/results/training

The step of every recipe whose network repeats blocks, at the paper's patch and batch in one part,
as the training loop compiles it: XLA's figure for the program's temporary memory. The times are
those of a batch of one, both programs in turns.
"""

import importlib
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import typer

from experiments.environment import environment
from experiments.memory.measure import MEGABYTE
from experiments.scaling.measure import compiled_step
from experiments.throughput.timing import interleave

RECIPES = ("vdsr", "srresnet", "edsr", "mdsr", "rcan", "san", "csnln")


def config_of(recipe: str, remat: bool) -> Any:
    """The paper's recipe on the photographs that need no download."""
    config = importlib.import_module(f"configs.{recipe}").get_config("photos")
    config.train.remat, config.train.accumulate = remat, 1
    return config


def one_image(recipe: str, remat: bool) -> Callable[[], Any]:
    """A function that takes a step on a batch of one."""
    config = config_of(recipe, remat)
    config.data.batch_size = 1
    program, state, shapes = compiled_step(config)
    batch = {name: jnp.full(x.shape, 0.5, x.dtype) for name, x in shapes.items()}
    states = [state]  # each step takes the state away that it is given

    def run() -> Any:
        new, metrics = program(states.pop(), batch)
        states.append(new)
        return jax.block_until_ready(metrics)

    return run


def measure(recipe: str, budget: float) -> dict[str, Any]:
    """One row."""
    row: dict[str, Any] = {"recipe": recipe, "batch": config_of(recipe, False).data.batch_size}
    runs = {}
    for column, remat in (("kept", False), ("computed again", True)):
        program, _, _ = compiled_step(config_of(recipe, remat))
        row[column] = program.memory_analysis().temp_size_in_bytes / MEGABYTE
        runs[column] = one_image(recipe, remat)
        runs[column]()
    samples = interleave(runs, budget)
    seconds = {name: statistics.median(times) for name, times in samples.items()}
    return row | {"slower": seconds["computed again"] / seconds["kept"]}


def main(
    output: Annotated[Path, typer.Option(help="Folder for table.md and rows.json.")],
    budget: Annotated[float, typer.Option(help="Seconds of timing for each row.")] = 10.0,
) -> None:
    """Measures all recipes; rows that exist are kept, so that a run can be resumed."""
    output.mkdir(parents=True, exist_ok=True)
    store = output / "rows.json"
    rows = json.loads(store.read_text()) if store.exists() else []
    for recipe in RECIPES:
        if any(row["recipe"] == recipe for row in rows):
            continue
        rows.append(measure(recipe, budget) | {"environment": environment()})
        store.write_text(json.dumps(rows, indent=2) + "\n")
        print(rows[-1], flush=True)
    lines = [
        "| recipe | batch | temporaries, MB | with train.remat, MB | factor | its time, of 1 |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        kept, again = row["kept"], row["computed again"]
        lines.append(
            f"| {row['recipe']} | {row['batch']} | {kept:.0f} | {again:.0f} | {kept / again:.1f} | "
            f"{row['slower']:.2f} |"
        )
    places = sorted({row["environment"] for row in rows})
    (output / "table.md").write_text("\n".join([*lines, "", *places]) + "\n")


if __name__ == "__main__":
    typer.run(main)
