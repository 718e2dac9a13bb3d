"""How much do devices tell each other in a training step? The bytes, from the compiled program.

    python -m experiments.scaling.measure --output experiments/scaling/results

Every row is the step of a recipe at the paper's full size, as the training loop compiles it, on
virtual devices of this machine's CPU. Nothing is trained.
"""

import importlib
import json
import math
import os
import re
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import typer

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
BYTES = {"pred": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "f64": 8}


def all_reduces(hlo: str) -> dict[str, int]:
    """What the all-reduces of a program move: `bytes` of their results, and their number, `calls`.

    Those in the body of a loop count as often as the loop goes round.

    Args:
        hlo: the text of a compiled program.

    Raises:
        ValueError: an all-reduce in a loop of unknown length, or a collective of another kind.
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

    def count(name: str) -> tuple[int, int]:
        moved = calls = 0
        for line in computations[name]:
            if other := re.search(
                r" (all-gather|all-to-all|reduce-scatter|collective-permute)(-start)?\(", line
            ):
                raise ValueError(f"the program has the collective {other[1]}, not counted here")
            if reduced := re.search(r" = (.*) all-reduce(-start)?\(", line):
                for dtype, shape in re.findall(r"(\w+)\[([\d,]*)\]", reduced[1]):
                    moved += BYTES[dtype] * math.prod(int(n) for n in shape.split(",") if n)
                calls += 1
                continue
            inner = re.findall(r"(?:body|calls|to_apply)=%?([\w.-]+)", line)
            for branches in re.findall(r"branch_computations=\{([^}]*)\}", line):
                inner += re.findall(r"[\w.-]+", branches)
            for found in map(count, inner):
                if found == (0, 0):
                    continue
                times = 1
                if " while(" in line:
                    known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', line)
                    if known is None:
                        raise ValueError("an all-reduce in a loop of unknown length")
                    times = int(known[1])
                moved, calls = moved + times * found[0], calls + times * found[1]
        return moved, calls

    moved, calls = count(entry)
    return {"bytes": moved, "calls": calls}


def step(name: str, arguments: str, devices: int) -> dict[str, Any]:
    """The all-reduces of a recipe's step, and 4 bytes for each parameter that it updates."""
    import jax
    import numpy as np

    from sr_jax import sharding, train
    from sr_jax.models import create_model
    from sr_jax.training import steps

    config = importlib.import_module(f"configs.{name}").get_config(arguments)
    model = create_model(**config.model)
    scale, size, side = config.data.scales[0], config.data.batch_size, config.data.lr_patch_size
    mesh = jax.make_mesh(
        (devices,),
        (sharding.BATCH_AXIS,),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=jax.devices()[:devices],
    )
    state = train.make_state(config, model, mesh)
    target = side if model.takes_interpolated else scale * side
    batch = {
        image: jax.ShapeDtypeStruct(
            (size, length, length, model.n_colors),
            np.float32,
            sharding=sharding.split_rows(mesh),
        )
        for image, length in (("lr", side), ("hr", target))
    }
    # The loop's function calls the jitted one: under a jit around it, only the outer one may have
    # compiler options.
    with mock.patch.object(steps, "compiler_options", dict):
        update = train.make_updates(config, model, mesh)[scale]
        jitted = jax.jit(update, compiler_options=sharding.compiler_options())
        program = jitted.lower(state, batch).compile()
    branch = getattr(model, "branch", lambda layer: None)
    trees = [{k: v for k, v in state.params.items() if branch(k) in (None, scale)}]
    if config.adversarial.weight:
        trees.append(state.discriminator.params)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(trees))
    return {"batch": size, "parameter_bytes": 4 * parameters, **all_reduces(program.as_text())}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    lines = [
        "| recipe | devices | all-reduces | MB | 4 bytes a parameter, MB | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        moved, parameters = row["bytes"] / 1e6, row["parameter_bytes"] / 1e6
        lines.append(
            f"| {row['recipe']}:{row['arguments']} | {row['devices']} | {row['calls']} | "
            f"{moved:.3f} | {parameters:.3f} | {moved / parameters:.4f} |"
        )
    return "\n".join(lines) + "\n"


def main(
    output: Annotated[Path, typer.Option(help="Folder for table.md and rows.json.")],
    only: Annotated[str | None, typer.Option(help="One recipe.")] = None,
) -> None:
    """Measures all cases; rows that exist are kept, so that a run can be resumed."""
    # Read when jax is imported, which is why functions import it.
    flags = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES[-1]}"
    )
    os.environ["XLA_FLAGS"] = flags
    output.mkdir(parents=True, exist_ok=True)
    store = output / "rows.json"
    rows = json.loads(store.read_text()) if store.exists() else []
    for name, arguments in RECIPES:
        if only not in (None, name):
            continue
        for devices in DEVICES:
            case = {"recipe": name, "arguments": arguments, "devices": devices}
            if any(case.items() <= row.items() for row in rows):
                continue
            rows.append(case | step(name, arguments, devices))
            store.write_text(json.dumps(rows, indent=2) + "\n")
            (output / "table.md").write_text(table(rows))
            print(rows[-1], flush=True)


if __name__ == "__main__":
    typer.run(main)
