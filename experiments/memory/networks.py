"""Peak memory of CSNLN and SAN against the image's side: ours and the dense formulation.

    python -m experiments.memory.networks --output experiments/memory/results

Temporary memory is what XLA reports of the compiled forward pass of the whole network. The resident
set is measured in a process of its own that runs it once, where that takes minutes at most.
"""

import json
import resource
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import jax
import jax.numpy as jnp
import typer

from experiments import harness
from experiments.harness import MEGABYTE
from sr_jax.models import create_model, csnln
from sr_jax.ops import attention
from sr_jax.ops.target import compiler_options

# network, hyper-parameters, sides of the LR image; up to the last column ours is also run.
CASES = (
    ("csnln", {"scale": 2}, (48, 96, 128, 256, 512), 128),
    ("csnln", {"scale": 2, "depth": 2}, (256,), 256),
    ("csnln", {"scale": 4, "depth": 2}, (96,), 96),
    ("san", {"scale": 2}, (48, 128, 256, 512), 256),
)


def dense_non_local(query: jax.Array, key: jax.Array, value: jax.Array, **_: Any) -> jax.Array:
    """All scores at once, as the official code."""
    return jax.nn.softmax(query @ key.swapaxes(1, 2), axis=-1) @ value


def dense_cross_scale(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    norm_floor: jax.Array,
    *,
    softmax_scale: float = 10.0,
    **_: Any,
) -> jax.Array:
    """Every query patch against every key patch, and every value patch pasted nine times."""
    n, height, width, _ = query.shape
    n_keys = key.shape[1] * key.shape[2]

    def patches(x: jax.Array) -> jax.Array:
        h, w = x.shape[1:3]
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        shifts = [x[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]
        return jnp.concatenate(shifts, axis=-1).reshape(n, h * w, -1)

    keys = patches(key)
    norms = jnp.sqrt(jnp.sum(jnp.square(keys), axis=-1, keepdims=True))
    scores = patches(query) @ (keys / jnp.maximum(norms, norm_floor)).swapaxes(1, 2)
    weights = jax.nn.softmax(scores * softmax_scale, axis=-1).reshape(n, height, width, n_keys)
    weights = jnp.pad(weights, ((0, 0), (1, 1), (1, 1), (0, 0)))
    cells = jnp.pad(value, ((0, 0), (1, 1), (1, 1), (0, 0)))
    result = jnp.zeros((n, height, width, value.shape[-1]), value.dtype)
    for i in range(3):
        for j in range(3):
            # The patch pasted at p + d covers p with the cell q - d, d = (1 - i, 1 - j).
            shifted = cells[:, i : i + value.shape[1], j : j + value.shape[2]]
            placed = weights[:, 2 - i : 2 - i + height, 2 - j : 2 - j + width]
            result += jnp.einsum("nhwk,nkd->nhwd", placed, shifted.reshape(n, n_keys, -1))
    return result


def compiled(name: str, hyperparameters: dict, side: int, dense: bool) -> tuple[Any, Any, Any]:
    """The compiled forward pass of a whole network on one square image, and its arguments."""
    model = create_model(name, **hyperparameters)
    images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 24, 24, 3)))
    if dense:
        mock.patch.object(attention, "non_local_attention", dense_non_local).start()
        mock.patch.object(csnln, "cross_scale_attention", dense_cross_scale).start()
    forward = jax.jit(model.apply, compiler_options=compiler_options())
    program = forward.lower(variables, images).compile()
    mock.patch.stopall()
    return program, model, images


def one_run(name: str, hyperparameters: dict, side: int) -> dict[str, float]:
    """Runs ours once in this process; peak resident MB, and before."""
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    program, model, images = compiled(name, hyperparameters, side, dense=False)
    init = jax.jit(model.init)
    variables = init(jax.random.key(0), jnp.zeros((1, 24, 24, 3)))
    image = jax.random.uniform(jax.random.key(1), images.shape)
    jax.block_until_ready(program(variables, image))
    return {
        "resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "before": base,
    }


def main(
    output: Annotated[Path, typer.Option(help="Folder for networks.json and .md.")],
    run: Annotated[str, typer.Option(help="Used by the script itself: one run, as JSON.")] = "",
) -> None:
    """Measures all cases; rows that exist are kept, so that a run can be resumed."""
    if run:
        print(json.dumps(one_run(*json.loads(run))))
        return
    rows = harness.Rows(output, table, "networks")
    for name, hyperparameters, sides, last in CASES:
        for side in sides:
            row = {"network": name, "hyperparameters": hyperparameters, "side": side}
            if not rows.missing(row):
                continue
            for column, dense in (("ours", False), ("dense", True)):
                program, _, _ = compiled(name, hyperparameters, side, dense)
                row[column] = program.memory_analysis().temp_size_in_bytes / MEGABYTE
            if side <= last:
                request = [name, hyperparameters, side]
                row |= harness.ask("experiments.memory.networks", request)
            rows.add(row)
    rows.write_table()


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = ["network", "LR side", "temporaries dense, MB", "ours, MB", "factor"]
    head += ["ours, resident, MB"]
    lines = []
    for row in rows:
        fields = ", ".join(f"{k} {v}" for k, v in row["hyperparameters"].items())
        ours, dense = row["ours"], row["dense"]
        ran = f"{row['resident']:.0f}" if "resident" in row else "not run"
        cells = [f"{row['network']}, {fields}", row["side"], f"{dense:.0f}", f"{ours:.0f}"]
        lines.append([*cells, f"{dense / ours:.1f}", ran])
    return "\n".join(harness.table(head, lines))


if __name__ == "__main__":
    typer.run(main)
