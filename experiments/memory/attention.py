"""The attention of CSNLN and SAN by itself: time and memory against dense formulations.

    python -m experiments.memory.attention --output experiments/memory/results

`official` is the published formulation in PyTorch, `same algorithm` ours in PyTorch. All contenders
have the same operands, agree before they are timed, and run in turns. Temporaries are XLA's figures
for the compiled function, ours and the dense formulation in JAX. What a contender adds to the
resident set is measured in a process of its own.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import typer

from experiments import harness
from experiments.harness import MEGABYTE
from experiments.memory.networks import dense_cross_scale, dense_non_local
from experiments.twins.attention import blocked_attention
from experiments.twins.csnln import dense_in_scale, patch_cross_scale, tiled_patches
from sr_jax.ops.attention import cross_scale_attention, non_local_attention
from sr_jax.ops.shuffle import cells_to_space, space_to_cells
from sr_jax.ops.target import compiler_options

# Attention, side of the LR image, whether the dense formulations are run.
CASES = (
    *(("csnln cross-scale", side, side <= 128) for side in (48, 96, 128, 256, 512)),
    *(("san non-local", side, side <= 256) for side in (48, 128, 256, 512)),
)
TOLERANCE = 1e-4  # float32, of the norm: exponentials of sums of up to 576 products
FLOOR, FACTOR = 1e-4, 2


def operands(attention: str, side: int) -> tuple[np.ndarray, ...]:
    """Query, key and value as the networks make them of one image, channels last."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    if attention == "csnln cross-scale":
        small = side // FACTOR
        return draw(1, side, side, 64), draw(1, small, small, 64), draw(1, side, side, 128)
    # A quadrant; keys and values are pooled by two both ways.
    queries, keys = (side // 2) ** 2, (side // 4) ** 2
    return draw(1, queries, 8), draw(1, keys, 8), draw(1, keys, 8)


def jax_function(attention: str, *, dense: bool) -> Callable[..., jax.Array]:
    """Of query, key and value."""
    if attention == "san non-local":
        return dense_non_local if dense else non_local_attention
    attend: Callable[..., jax.Array] = dense_cross_scale if dense else cross_scale_attention

    def enlarge(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
        y = attend(query, key, space_to_cells(value, FACTOR), jnp.float32(FLOOR))
        return cells_to_space(y, FACTOR) / 6

    return enlarge


def torch_function(attention: str, *, official: bool) -> Callable[..., torch.Tensor]:
    """Of query, key and value, channels first."""
    if attention == "san non-local":
        return dense_in_scale if official else blocked_attention
    attend = patch_cross_scale if official else tiled_patches
    return lambda *tensors: attend(*tensors, torch.tensor([FLOOR]))


def compiled(attention: str, side: int, task: str, *, dense: bool) -> Any:
    """The program of one forward pass, or of the gradient of the result's sum of squares."""
    function = jax_function(attention, dense=dense)
    if task == "gradient":
        forward = function
        function = jax.grad(lambda *x: jnp.sum(jnp.square(forward(*x))), argnums=(0, 1, 2))
    shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in operands(attention, side)]
    return jax.jit(function, compiler_options=compiler_options()).lower(*shapes).compile()


def contender(attention: str, side: int, task: str, name: str) -> Callable[[], list[np.ndarray]]:
    """A function that runs a contender and returns the arrays, channels last."""
    arrays = operands(attention, side)
    if name == "ours":
        program, placed = compiled(attention, side, task, dense=False), jax.device_put(arrays)
        return lambda: jax.tree.map(np.asarray, jax.tree.leaves(program(*placed)))
    function = torch_function(attention, official=name == "official")
    tensors = [torch.from_numpy(np.moveaxis(x, -1, 1).copy()) for x in arrays]

    def run() -> list[np.ndarray]:
        if task == "forward":
            with torch.inference_mode():
                results = [function(*tensors)]
        else:
            leaves = [x.requires_grad_() for x in tensors]
            results = list(torch.autograd.grad(function(*leaves).square().sum(), leaves))
        return [np.moveaxis(x.numpy(), 1, -1) for x in results]

    return run


def added(attention: str, side: int, task: str, name: str) -> float:
    """MB that the second run of a contender adds to this process's resident set."""
    run = contender(attention, side, task, name)
    run()
    before = harness.resident("VmRSS")
    harness.forget_peak()
    run()
    return (harness.resident("VmHWM") - before) / MEGABYTE


def measure(attention: str, side: int, task: str, run_dense: bool, budget: float) -> dict[str, Any]:
    """One row."""
    row: dict[str, Any] = {"attention": attention, "side": side, "task": task}
    for column, dense in (("ours", False), ("dense", True)):
        analysis = compiled(attention, side, task, dense=dense).memory_analysis()
        row[f"temporaries_{column}"] = analysis.temp_size_in_bytes / MEGABYTE
    if not run_dense:
        return row
    names = ("ours", "official", "same_algorithm")
    runs = {name: contender(attention, side, task, name) for name in names}
    expected = runs["ours"]()
    for name in names[1:]:
        for ours, theirs in zip(expected, runs[name](), strict=True):
            error = np.linalg.norm(ours - theirs) / np.linalg.norm(ours)
            if error > TOLERANCE:
                raise SystemExit(f"{attention} {side} {task}: {name} differs by {error:.1e}")
    samples = harness.interleave(runs, budget)
    row["seconds"] = {name: harness.summary(seconds) for name, seconds in samples.items()}
    for name in names:
        request = [attention, side, task, name]
        row[f"resident_{name}"] = harness.ask("experiments.memory.attention", request)
    return row


def main(
    output: Annotated[Path, typer.Option(help="Folder for attention.json and .md.")],
    budget: Annotated[float, typer.Option(help="Seconds of timing for each row.")] = 10.0,
    run: Annotated[str, typer.Option(help="Used by the script itself: one run, as JSON.")] = "",
) -> None:
    """Measures all cases; rows that exist are kept, so that a run can be resumed."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if run:
        print(added(*json.loads(run)))
        return
    rows = harness.Rows(output, table, "attention")
    for attention, side, run_dense in CASES:
        for task in ("forward", "gradient"):
            case = {"attention": attention, "side": side, "task": task}
            if rows.missing(case):
                rows.add(measure(attention, side, task, run_dense, budget))
    rows.write_table()


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = ["attention", "LR side", "task", "ours, s", "official / ours", "same algorithm / ours"]
    head += ["temporaries ours, MB", "dense, MB", "dense / ours"]
    head += ["resident ours, official, same algorithm, MB"]
    lines = []
    for row in rows:
        ours, dense = row["temporaries_ours"], row["temporaries_dense"]
        times, memory = ["not run"] * 3, "not run"
        if "seconds" in row:
            median = {name: seconds["median"] for name, seconds in row["seconds"].items()}
            times = [f"{median['ours']:.3g}"]
            times += [f"{median[n] / median['ours']:.2f}" for n in ("official", "same_algorithm")]
            names = ("ours", "official", "same_algorithm")
            memory = ", ".join(f"{row[f'resident_{name}']:.0f}" for name in names)
        cells = [row["attention"], row["side"], row["task"], *times]
        lines.append([*cells, f"{ours:.1f}", f"{dense:.1f}", f"{dense / ours:.1f}", memory])
    return "\n".join(harness.table(head, lines))


if __name__ == "__main__":
    typer.run(main)
