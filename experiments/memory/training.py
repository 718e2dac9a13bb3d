"""Memory of the training step, with and without rematerialisation (`train.remat`).

    python -m experiments.memory.training --output experiments/memory/results

The step of every recipe whose network repeats blocks, at the paper's patch and batch in one part,
as the training loop compiles it: XLA's figure for the program's temporary memory. The times are
those of a batch of one, both programs in turns.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import typer

from experiments import harness
from experiments.harness import MEGABYTE
from experiments.scaling.measure import compiled_step

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
    samples = harness.interleave(runs, budget)
    seconds = {name: harness.summary(times) for name, times in samples.items()}
    slower = seconds["computed again"]["median"] / seconds["kept"]["median"]
    return row | {"seconds": seconds, "slower": slower}


def main(
    output: Annotated[Path, typer.Option(help="Folder for training.json and .md.")],
    budget: Annotated[float, typer.Option(help="Seconds of timing for each row.")] = 10.0,
) -> None:
    """Measures all recipes; rows that exist are kept, so that a run can be resumed."""
    rows = harness.Rows(output, table, "training")
    for recipe in RECIPES:
        if rows.missing({"recipe": recipe}):
            rows.add(measure(recipe, budget))
    rows.write_table()


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = ["recipe", "batch", "temporaries, MB", "with train.remat, MB", "factor"]
    head += ["its time, of 1"]
    lines = []
    for row in rows:
        kept, again = row["kept"], row["computed again"]
        cells = [row["recipe"], row["batch"], f"{kept:.0f}", f"{again:.0f}"]
        lines.append([*cells, f"{kept / again:.1f}", f"{row['slower']:.2f}"])
    return "\n".join(harness.table(head, lines))


if __name__ == "__main__":
    typer.run(main)
