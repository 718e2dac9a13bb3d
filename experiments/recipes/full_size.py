"""One real training step of every recipe at the paper's full size: time, memory, loss.

    python -m experiments.recipes.full_size --output experiments/recipes/results

Every row is measured in a process of its own, by the functions that the training loop uses.
"""

import importlib
import json
import resource
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments import harness

# config, arguments, scale of the step. The images are the embedded photographs for all.
CASES = (
    ("srcnn", "photos", 2),
    ("vdsr", "photos", 2),
    ("srresnet", "photos", 4),
    ("srgan", "mse,photos", 4),
    ("srgan", "vgg54,photos", 4),
    ("edsr", "baseline,photos", 2),
    ("edsr", "photos", 2),
    ("mdsr", "photos", 2),
    ("mdsr", "photos", 3),
    ("mdsr", "photos", 4),
    ("rcan", "photos", 2),
    ("san", "photos", 2),
    ("csnln", "photos", 2),
)


def one_step(name: str, arguments: str, scale: int) -> dict[str, Any]:
    """Two steps of a recipe in this process; one, if the first takes over a minute."""
    import jax

    from sr_jax.data.pipeline import batches
    from sr_jax.mesh import make_mesh
    from sr_jax.models import count_parameters
    from sr_jax.recipe import read_config
    from sr_jax.train import make_state, make_updates

    recipe = read_config(importlib.import_module(f"configs.{name}").get_config(arguments))
    sampler, mesh = recipe.sampler, make_mesh(recipe.sampler.batch_size)
    state, updates = make_state(recipe, mesh), make_updates(recipe, mesh)
    any_scale = recipe.model.takes_interpolated
    drawn = [step for step in range(100) if any_scale or sampler.scale(step) == scale]
    batch = next(batches(sampler, mesh, drawn[0], drawn[0] + 1))
    parameters = count_parameters({"params": state.params})
    seconds: list[float] = []
    while not seconds or (len(seconds) == 1 and seconds[0] < 60):
        start = time.perf_counter()
        state, metrics = jax.block_until_ready(updates[sampler.scale(drawn[0])](state, batch))
        seconds.append(time.perf_counter() - start)
    return {
        "input": list(batch["lr"].shape),
        "target": list(batch["hr"].shape),
        "parameters": parameters,
        "loss": float(metrics["loss"]),
        "first_seconds": seconds[0],
        "second_seconds": seconds[1] if len(seconds) > 1 else None,
        "resident_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = ["recipe", "parameters", "input", "target", "loss", "first step, s", "second, s"]
    head += ["memory, GB"]
    lines = []
    for row in rows:
        sizes = ("x".join(map(str, row[side])) for side in ("input", "target"))
        second = f"{row['second_seconds']:.1f}" if row["second_seconds"] else "not taken"
        cells = [f"{row['config']}:{row['arguments']}, x{row['scale']}", f"{row['parameters']:,}"]
        cells += [*sizes, f"{row['loss']:.4g}", f"{row['first_seconds']:.1f}", second]
        lines.append([*cells, f"{row['resident_megabytes'] / 1024:.1f}"])
    return "\n".join(harness.table(head, lines))


def main(
    output: Annotated[Path, typer.Option(help="Folder for full_size.json and .md.")],
    only: Annotated[str, typer.Option(help="Measure this config alone.")] = "",
    run: Annotated[str, typer.Option(help="Used by the script itself: one row, as JSON.")] = "",
) -> None:
    """Measures all recipes; rows that exist are kept, so that a run can be resumed."""
    if run:
        print(json.dumps(one_step(*json.loads(run))))
        return
    rows = harness.Rows(output, table, "full_size")
    for name, arguments, scale in CASES:
        case = {"config": name, "arguments": arguments, "scale": scale}
        if (only and name != only) or not rows.missing(case):
            continue
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0"}
        rows.add(case | harness.ask("experiments.recipes.full_size", list(case.values()), quiet))
    rows.write_table()


if __name__ == "__main__":
    typer.run(main)
