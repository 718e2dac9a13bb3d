"""What does each device need where several share one image by its rows, and is the result the same?

    python -m experiments.sharded_image.measure --output experiments/sharded_image/results

Devices are virtual ones of this machine's CPU. Memory is what XLA reports of a device's compiled
program; nothing is run for it. The results are compared on a small image that eight devices
cannot share evenly, with the networks at their full size and random weights.
"""

from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import typer

from experiments import harness
from sr_jax.inference.program import input_size, jitted
from sr_jax.inference.settings import Settings
from sr_jax.inference.upscaler import run_network
from sr_jax.models import create_model, example_images

DEVICES = (1, 2, 4, 8)
# Name, scale, sides of the square image, in LR pixels.
CASES = (
    ("srcnn_915", 2, (128,)),
    ("vdsr", 2, (128,)),
    ("srresnet", 4, (128,)),
    ("srgan_generator", 4, (128,)),
    ("edsr", 2, (128, 512)),
    ("mdsr", 2, (128,)),
    ("rcan", 2, (128, 512)),
    ("san", 2, (128, 512)),
    ("csnln", 2, (128, 512)),
)
COMPARED = (51, 46)  # height and width of the image whose results are compared


def network(name: str, scale: int) -> tuple[Any, Any]:
    """The network at its full size, and the shapes of its variables."""
    fixed = {} if name in ("srcnn_915", "vdsr", "mdsr") else {"scale": scale}
    model = create_model(name, **fixed)
    return model, jax.eval_shape(model.init, jax.random.key(0), example_images(model))


def bytes_of_a_device(name: str, scale: int, side: int, devices: int) -> dict[str, int]:
    """Of the compiled program."""
    model, variables = network(name, scale)
    size = input_size(model, side, side, scale)
    images = jax.ShapeDtypeStruct((1, *size, model.n_colors), np.float32)
    program = jitted(model, scale, "float32", devices).lower(variables, images).compile()
    analysis = program.memory_analysis()
    return {
        "temporaries": analysis.temp_size_in_bytes,
        "image_and_result": 4 * images.size // devices + analysis.output_size_in_bytes,
    }


def difference(name: str, scale: int) -> float:
    """Of the result of all devices from that of one, relative to its largest value."""
    model, shapes = network(name, scale)
    rng = np.random.default_rng(0)

    def draw(leaf: Any) -> np.ndarray:
        """Kernels that keep the size of what passes through, biases that are not zero."""
        if leaf.ndim < 4:
            return rng.uniform(0.05, 0.1, leaf.shape).astype(leaf.dtype)
        bound = 1 / np.sqrt(np.prod(leaf.shape[-4:-1]))
        return rng.uniform(-bound, bound, leaf.shape).astype(leaf.dtype)

    variables = jax.tree.map(draw, shapes)
    image = rng.random((*COMPARED, model.n_colors))
    whole, shared = (
        run_network(model, variables, image, scale, Settings(shard=shard))
        for shard in (False, True)
    )
    return float(np.abs(shared - whole).max() / np.abs(whole).max())


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of memory in Markdown."""
    head = ["network", "LR side", *(f"{n} device{'s' * (n > 1)}, MiB" for n in DEVICES)]
    head += ["1 over 8", "difference"]
    lines = []
    for name, scale, sides in CASES:
        found = [row for row in rows if row["network"] == name]
        differences = [f"{row['difference']:.1e}" for row in found if "difference" in row]
        for side in sides:
            needed = {
                row["devices"]: (row["temporaries"] + row["image_and_result"]) / 2**20
                for row in found
                if row.get("side") == side
            }
            if len(needed) == len(DEVICES):
                cells = [f"{name} x{scale}", str(side), *(f"{needed[n]:.1f}" for n in DEVICES)]
                lines.append(
                    [*cells, f"{needed[1] / needed[8]:.1f}", *(differences or ["not run"])]
                )
    return "\n".join(harness.table(head, lines))


def main(
    output: Annotated[Path, typer.Option(help="Folder for rows.json and .md.")],
    only: Annotated[str | None, typer.Option(help="One network.")] = None,
    largest: Annotated[int, typer.Option(help="LR side up to which memory is asked for.")] = 512,
) -> None:
    """Measures all cases; rows that exist are kept, so that a run can be resumed."""
    jax.config.update("jax_num_cpu_devices", DEVICES[-1])
    rows = harness.Rows(output, table)
    for name, scale, sides in CASES:
        if only not in (None, name):
            continue
        for side in sides:
            for devices in DEVICES:
                case = {"network": name, "side": side, "devices": devices}
                if side <= largest and rows.missing(case):
                    rows.add(case | bytes_of_a_device(name, scale, side, devices))
        case = {"network": name, "size": list(COMPARED)}
        if rows.missing(case):
            rows.add(case | {"difference": difference(name, scale)})
    rows.write_table()


if __name__ == "__main__":
    typer.run(main)
