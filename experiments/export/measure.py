"""Do exports give what the networks give, and how fast are they?

    python -m experiments.export.measure --output experiments/export/results

All eight generators at their papers' size with the weights that a training starts from, as
StableHLO and as ONNX. The contenders take turns in one process: the network as `sr-jax upscale`
compiles it, the StableHLO file by `jax.export`, and the ONNX file by ONNX Runtime. Each network has
a process of its own.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import typer

from experiments import harness
from experiments.throughput.engines import run_onnxruntime
from experiments.throughput.networks import NINE
from sr_jax.export.onnx import NCHW, to_onnx
from sr_jax.export.program import make_program
from sr_jax.export.stablehlo import to_stablehlo
from sr_jax.inference.program import jitted
from sr_jax.models import create_model

SIDES = (48, 128)  # of the square LR image
FIXED = ("san", "csnln")
CONTENDERS = ("ours", "stablehlo", "onnx")


def measure(name: str, side: int, seconds: float) -> dict[str, Any]:
    """The row of a network at one size."""
    network = NINE[name]
    model = create_model(network.architecture, **network.hyperparameters)
    start = np.zeros((1, 16, 16, model.n_colors), np.float32)
    variables = jax.tree.map(np.asarray, jax.jit(model.init)(jax.random.key(0), start))
    scale = network.scale if model.scales else None
    side = side * network.scale if network.interpolated else side
    fixed = (side, side) if name in FIXED else None
    program = make_program(model, variables, scale=scale, size=fixed)
    onnx, _ = to_onnx(program)
    stablehlo, _ = to_stablehlo(program)
    exported = jax.jit(jax.export.deserialize(bytearray(stablehlo)).call)
    own = jitted(model, network.scale, "float32", 1)
    image = np.random.default_rng(0).random((1, side, side, model.n_colors), np.float32)
    runs: dict[str, Callable[[], np.ndarray]] = {
        "ours": lambda: np.asarray(own(variables, image)),
        "stablehlo": lambda: np.asarray(exported(image)),
        "onnx": run_onnxruntime(onnx, np.ascontiguousarray(image.transpose(NCHW))),
    }
    expected = runs["ours"]()
    differences = {
        "stablehlo": np.abs(runs["stablehlo"]() - expected).max(),
        "onnx": np.abs(runs["onnx"]().transpose(0, 2, 3, 1) - expected).max(),
    }
    top = np.abs(expected).max()
    samples = harness.interleave(runs, seconds)
    return {
        "bytes": {"stablehlo": len(stablehlo), "onnx": len(onnx)},
        "size": "fixed" if fixed else "any",
        "differences": {each: float(value / top) for each, value in differences.items()},
        "seconds": {each: harness.summary(taken) for each, taken in samples.items()},
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown of the rows."""
    head = ["network", "LR side", "sizes", "difference, StableHLO", "difference, ONNX"]
    head += ["ours, ms", "StableHLO / ours", "ONNX Runtime / ours"]
    lines = []
    for row in rows:
        times = {each: row["seconds"][each]["median"] for each in CONTENDERS}
        lines.append(
            [
                row["network"],
                row["side"],
                row["size"],
                *(f"{row['differences'][each]:.1e}" for each in CONTENDERS[1:]),
                f"{1e3 * times['ours']:.1f}",
                *(f"{times[each] / times['ours']:.2f}" for each in CONTENDERS[1:]),
            ]
        )
    return "\n".join(harness.table(head, lines))


def main(
    output: Annotated[Path, typer.Option(help="Folder for rows.json and .md.")],
    only: Annotated[str | None, typer.Option(help="One network.")] = None,
    seconds: Annotated[float, typer.Option(help="For the turns of a case.")] = 30,
    run: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measures all cases; rows that exist are kept, so that a run can be resumed."""
    if run:
        print(json.dumps(measure(**json.loads(run))))
        return
    rows = harness.Rows(output, table)
    for name in NINE:
        for side in SIDES:
            case = {"network": name, "side": side}
            if name == "srgan" or only not in (None, name) or not rows.missing(case):
                continue  # SRGAN's generator is SRResNet
            request = {"name": name, "side": side, "seconds": seconds}
            rows.add(case | harness.ask("experiments.export.measure", request))


if __name__ == "__main__":
    typer.run(main)
