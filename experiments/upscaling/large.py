"""Images larger than memory would take whole: peak memory, time and seams of `sr-jax upscale`.

    python -m experiments.upscaling.large --output experiments/upscaling/results

A photograph enlarged to 4000 x 3000 goes through SRCNN and EDSR-baseline x2 in the tiles that
`--tile auto` chooses, one of 320 x 240 through every other network at full size in tiles smaller
than it. Weights are random, which changes neither time nor memory. Every row is the command, in a
process of its own; rows that exist are kept, so that a run can be resumed.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import typer

from experiments import harness
from experiments.upscaling.tiles import at_joins, joins, roughness
from sr_jax import weights
from sr_jax.data.sources import load
from sr_jax.imaging.files import read_image, to_float, write_image
from sr_jax.imaging.resize import imresize
from sr_jax.inference.layout import layout
from sr_jax.inference.program import input_size, output_factor
from sr_jax.inference.settings import Settings
from sr_jax.models import Variables, create_model, example_images

LARGE, SMALL = (3000, 4000), (240, 320)


class Case(NamedTuple):
    """A network, the size of the image (height, width) and the tile that is asked for."""

    network: str
    size: tuple[int, int]
    tile: str


CASES = (
    Case("srcnn_955", LARGE, "auto"),
    Case("edsr_baseline", LARGE, "auto"),
    Case("vdsr", SMALL, "256"),
    *(
        Case(name, SMALL, "128")
        for name in ("srresnet", "srgan_generator", "edsr", "mdsr", "rcan", "san", "csnln")
    ),
)


def random_network(name: str) -> tuple[Any, Variables, int]:
    """The network with the weights that training starts from, and its scale."""
    model = create_model(name)
    variables = jax.jit(model.init)(jax.random.key(0), example_images(model))
    return model, variables, (model.known_scales or (2,))[0]


# Linux counts what the parent had before the exec to a process's peak: the parent is a small one.
PEAK = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def run(*arguments: str) -> tuple[str, float, float]:
    """`sr-jax ...` in a process: what it printed, seconds, GB of its peak resident set."""
    start = time.perf_counter()
    command = [sys.executable, "-c", PEAK, sys.executable, "-m", "sr_jax", *arguments]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    *lines, peak = printed.splitlines()
    return "\n".join(lines).strip(), time.perf_counter() - start, int(peak) * 1024 / 1e9


def tiles(printed: str) -> tuple[int, int]:
    """The (height, width) of a tile in the line of --dry-run."""
    found = re.search(r"tiles? of (\d+) x (\d+)", printed)
    assert found, printed
    return int(found[2]), int(found[1])


def measure(case: Case, folder: Path) -> dict[str, Any]:
    """Runs the command and looks at the result near the joins of its tiles."""
    model, variables, scale = random_network(case.network)
    file, image, output = folder / "weights.safetensors", folder / "image.png", folder / "out"
    weights.save(file, model, variables)
    photo = next(iter(load("photos", "validation"))).hr()
    write_image(image, imresize(photo, size=case.size))
    command = ["upscale", str(image), "--model", str(file), "--tile", case.tile]
    command += ["--scale", str(scale), "--output", str(output)]
    planned, _, _ = run(*command, "--dry-run")
    _, seconds, memory = run(*command)

    (result,) = output.iterdir()
    pixels = to_float(read_image(result))
    inputs = input_size(model, *case.size, scale)
    settings = Settings(tile=max(tiles(planned)))
    cut = layout(model, variables, inputs, scale, settings)
    places = joins(cut, output_factor(model, scale), model.size_divisor)
    near, elsewhere = at_joins(roughness(pixels), *places)
    bicubic = imresize(to_float(read_image(image)), scale)
    bicubic_near, bicubic_elsewhere = at_joins(roughness(bicubic), *places)
    return {
        "network": case.network,
        "scale": scale,
        "size": case.size,
        "asked": case.tile,
        "planned": planned,
        "seconds": seconds,
        "memory": memory,
        "overlap": cut.overlap,
        "at_joins": near / elsewhere,
        "at_joins_bicubic": bicubic_near / bicubic_elsewhere,
    }


def main(
    output: Annotated[Path, typer.Option(help="Folder for large.json and .md.")],
    only: Annotated[str, typer.Option(help="Networks whose name contains this.")] = "",
) -> None:
    """Measures all rows that are missing and writes the table."""
    rows = harness.Rows(output, table, "large")
    for case in CASES:
        if only in case.network and rows.missing({"network": case.network}):
            with tempfile.TemporaryDirectory() as folder:
                rows.add(measure(case, Path(folder)))
    rows.write_table()


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = ["network", "image", "planned by --dry-run", "seconds", "peak memory, GB", "overlap"]
    head += ["roughness at joins over elsewhere", "of bicubic, same places"]
    lines = []
    for row in rows:
        height, width = row["size"]
        cells = [
            f"{row['network']} x{row['scale']}",
            f"{width}x{height}",
            row["planned"].partition(": ")[2],
            f"{row['seconds']:.0f}",
            f"{row['memory']:.1f}",
            f"{row['overlap']}",
            f"{row['at_joins']:.3f}",
            f"{row['at_joins_bicubic']:.3f}",
        ]
        lines.append(cells)
    return "\n".join(harness.table(head, lines))


if __name__ == "__main__":
    typer.run(main)
