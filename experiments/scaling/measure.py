"""How much do devices tell each other in a training step? The bytes, from the compiled program.

    python -m experiments.scaling.measure --output experiments/scaling/results

Every row is the step of a recipe at the paper's full size, as the training loop compiles it, on
virtual devices of this machine's CPU. Nothing is trained.
"""

import importlib
import math
import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import jax
import numpy as np
import typer
from ml_collections import ConfigDict

from experiments import harness
from sr_jax import train
from sr_jax.mesh import split_rows
from sr_jax.models import create_model
from sr_jax.ops.devices import BATCH_AXIS
from sr_jax.ops.target import compiler_options
from sr_jax.recipe import read_config
from sr_jax.training import steps

DEVICES = (1, 2, 4, 8)
# Config, arguments. The images are never read.
RECIPES = (
    ("srcnn", "photos"),
    ("vdsr", "photos"),
    ("srresnet", "photos"),
    ("srgan", "mse,photos"),
    ("edsr", "photos"),
    ("mdsr", "photos"),
    ("rcan", "photos"),
    ("san", "photos"),
    ("csnln", "photos"),
)
COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "all-to-all",
    "reduce-scatter",
    "collective-permute",
    "collective-broadcast",
)
BYTES = {"pred": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "f64": 8}


def communication(hlo: str) -> dict[str, int]:
    """What devices tell each other in a program.

    What is in the body of a loop counts as often as the loop goes round.

    Args:
        hlo: the text of a compiled program.

    Returns:
        `bytes` of the results of all all-reduces and their number, `calls`; `other_bytes` of the
        results of all other collectives, of which data-parallel training should have none.

    Raises:
        ValueError: a collective in a loop of unknown length.
    """
    computations: dict[str, list[str]] = {}
    entry = name = ""
    for line in hlo.splitlines():
        if head := re.match(r"(ENTRY )?%?([\w.-]+) .*\{$", line):
            name = head[2]
            entry = name if head[1] else entry
            computations[name] = []
        elif name:
            computations[name].append(line)

    def count(name: str) -> Counter[str]:
        total: Counter[str] = Counter()
        for line in computations[name]:
            if told := re.search(rf" = (.*) ({'|'.join(COLLECTIVES)})(-start)?\(", line):
                shapes = re.findall(r"(\w+)\[([\d,]*)\]", told[1])
                reduced = told[2] == "all-reduce"
                total["bytes" if reduced else "other_bytes"] += sum(
                    BYTES[dtype] * math.prod(int(n) for n in shape.split(",") if n)
                    for dtype, shape in shapes
                )
                total["calls"] += reduced
                continue
            inner = re.findall(r"(?:body|calls|to_apply)=%?([\w.-]+)", line)
            for branches in re.findall(r"branch_computations=\{([^}]*)\}", line):
                inner += re.findall(r"[\w.-]+", branches)
            for found in filter(None, map(count, inner)):
                times = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', line)
                if " while(" in line and times is None:
                    raise ValueError("a collective in a loop of unknown length")
                total.update({key: n * (int(times[1]) if times else 1) for key, n in found.items()})
        return total

    return {"bytes": 0, "calls": 0, "other_bytes": 0, **count(entry)}


def compiled_step(config: ConfigDict, devices: int = 1) -> tuple[Any, Any, dict[str, Any]]:
    """A recipe's step as the training loop compiles it, a state, and the shapes of a batch."""
    recipe = read_config(config)
    model, sampler = recipe.model, recipe.sampler
    scale, size, side = recipe.scales[0], sampler.batch_size, sampler.patch_size
    mesh = jax.make_mesh(
        (devices,),
        (BATCH_AXIS,),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=jax.devices()[:devices],
    )
    state = train.make_state(recipe, mesh)
    target = side if model.takes_interpolated else scale * side
    batch = {
        image: jax.ShapeDtypeStruct(
            (size, length, length, model.n_colors),
            np.float32,
            sharding=split_rows(mesh),
        )
        for image, length in (("lr", side), ("hr", target))
    }
    # The loop's function calls the jitted one: under a jit around it, only the outer one may have
    # compiler options.
    with mock.patch.object(steps, "compiler_options", dict):
        update = train.make_updates(recipe, mesh)[scale]
        jitted = jax.jit(update, compiler_options=compiler_options())
        return jitted.lower(state, batch).compile(), state, batch


def step(name: str, arguments: str, devices: int) -> dict[str, Any]:
    """What a recipe's step communicates, and 4 bytes for each parameter that it updates."""
    config = importlib.import_module(f"configs.{name}").get_config(arguments)
    program, state, _ = compiled_step(config, devices)
    model, scale = create_model(**config.model), config.data.scales[0]
    branch = getattr(model, "branch", lambda layer: None)
    trees = [{k: v for k, v in state.params.items() if branch(k) in (None, scale)}]
    if config.adversarial.weight:
        trees.append(state.discriminator.params)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(trees))
    return {
        "batch": config.data.batch_size,
        "parameter_bytes": 4 * parameters,
        **communication(program.as_text()),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = ["recipe", "devices", "all-reduces", "MB", "4 bytes a parameter, MB", "ratio"]
    head += ["others, MB"]
    lines = []
    for row in rows:
        moved, parameters, others = (
            row[key] / 1e6 for key in ("bytes", "parameter_bytes", "other_bytes")
        )
        cells = [f"{row['recipe']}:{row['arguments']}", row["devices"], row["calls"]]
        cells += [f"{moved:.3f}", f"{parameters:.3f}", f"{moved / parameters:.4f}"]
        lines.append([*cells, f"{others:.3f}"])
    return "\n".join(harness.table(head, lines))


def main(
    output: Annotated[Path, typer.Option(help="Folder for rows.json and .md.")],
    only: Annotated[str | None, typer.Option(help="One recipe.")] = None,
) -> None:
    """Measures all cases; rows that exist are kept, so that a run can be resumed."""
    jax.config.update("jax_num_cpu_devices", DEVICES[-1])
    rows = harness.Rows(output, table)
    for name, arguments in RECIPES:
        if only not in (None, name):
            continue
        for devices in DEVICES:
            case = {"recipe": name, "arguments": arguments, "devices": devices}
            if rows.missing(case):
                rows.add(case | step(name, arguments, devices))
    rows.write_table()


if __name__ == "__main__":
    typer.run(main)
