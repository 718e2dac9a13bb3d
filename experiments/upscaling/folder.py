"""A folder of images of many sizes: `sr-jax upscale` against a plain loop, and against one size.

    python -m experiments.upscaling.folder --output experiments/upscaling/results

Random crops of the photographs that come with the installed packages. Every method runs in a
process of its own and twice: first with nothing compiled, then with what the first run left in the
cache folder (the plain loop leaves nothing). Weights are random, which changes no time.
"""

import json
import math
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import typer

from experiments import harness
from sr_jax import weights
from sr_jax.commands.upscale import upscale
from sr_jax.data.sources import load
from sr_jax.imaging.files import from_float, read_image, to_float, write_image
from sr_jax.imaging.listing import list_images
from sr_jax.inference.program import jitted
from sr_jax.models import Variables, create_model, forward, variable_shapes

PLAIN = "plain loop"
METHODS = {
    PLAIN: {},
    "--tile none": {"tile": "none"},
    "default": {},
}


def draw_sizes(count: int, shortest: int, longest: int) -> list[tuple[int, int]]:
    """So many different heights and widths."""
    rng = np.random.default_rng(0)
    known: list[tuple[int, int]] = []
    while len(known) < count:
        height, width = rng.integers(shortest, longest, 2, endpoint=True)
        if (height, width) not in known:
            known.append((int(height), int(width)))
    return known


def make_images(folder: Path, count: int, known: list[tuple[int, int]]) -> None:
    """Crops of the photographs; of the sizes each occurs once before any occurs again."""
    rng = np.random.default_rng(0)
    photos = [pair.hr() for split in ("train", "validation") for pair in load("photos", split)]
    for number in range(count):
        height, width = known[number % len(known)]
        fitting = [p for p in photos if p.shape[0] >= height and p.shape[1] >= width]
        photo = fitting[rng.integers(len(fitting))]
        top = rng.integers(photo.shape[0] - height, endpoint=True)
        left = rng.integers(photo.shape[1] - width, endpoint=True)
        crop = photo[top : top + height, left : left + width]
        write_image(folder / f"{number:03}.png", crop)


def plain_loop(model: Path, images: Path, output: Path) -> None:
    """What one writes first: whole images, one by one, through a jitted network."""
    network, variables = weights.load(model)

    @jax.jit
    def plain_step(variables: Variables, image: jax.Array) -> jax.Array:
        return forward(network, variables, image, scale=network.scale)

    for path in list_images(images):
        result = plain_step(variables, to_float(read_image(path))[None])[0]
        write_image(output / path.name, from_float(np.asarray(result)))


def one_run(method: str, model: Path, images: Path, output: Path) -> dict[str, float]:
    """Runs one method in this process."""
    network, _ = weights.load(model)
    forward_pass = jitted(network, network.scale, "float32", 1).__name__
    found = []

    def listen(event: str, seconds: float, fun_name: str = "", **_: Any) -> None:
        ours = fun_name in (f"jit({forward_pass})", "jit(plain_step)")
        if event == "/jax/core/compile/backend_compile_duration" and ours:
            found.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    start = time.perf_counter()
    if method == PLAIN:
        plain_loop(model, images, output)
    else:
        upscale([images], model=str(model), output=output, **METHODS[method])
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "programs": len(found), "compiling": sum(found), "peak": peak}


def measure(method: str, model: Path, images: Path) -> dict[str, Any]:
    """Two runs of one method, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        variables = {"XDG_CACHE_HOME": folder, "JAX_COMPILATION_CACHE_DIR": None}
        first, second = (
            harness.ask(
                "experiments.upscaling.folder",
                [method, str(model), str(images), f"{folder}/{number}"],
                variables,
            )
            for number in range(2)
        )
    return {"method": method, "first": first, "second": second}


def main(
    output: Annotated[Path, typer.Option(help="Folder for folder.json and .md.")],
    network: Annotated[str, typer.Option(help="Architecture.")] = "edsr_baseline",
    count: Annotated[int, typer.Option(help="Images.")] = 400,
    sizes: Annotated[int, typer.Option(help="Different sizes among them.")] = 400,
    shortest: Annotated[int, typer.Option(help="Least side of an image, in pixels.")] = 16,
    longest: Annotated[int, typer.Option(help="Greatest side of an image, in pixels.")] = 160,
    methods: Annotated[
        list[str] | None, typer.Option("--method", help="Of the three, by name; by default all.")
    ] = None,
    run: Annotated[str, typer.Option(help="Used by the script itself: one run, as JSON.")] = "",
) -> None:
    """Measures all methods; rows that exist are kept, so that a run can be resumed."""
    if run:
        method, *paths = json.loads(run)
        print(json.dumps(one_run(method, *map(Path, paths))))
        return
    rows = harness.Rows(output, table, "folder")
    folders = {f"{shortest} to {longest}": (sizes, shortest, longest)}
    # The same number of pixels in images of one size, for comparison.
    drawn = draw_sizes(sizes, shortest, longest)
    side = round(math.sqrt(statistics.mean(map(math.prod, drawn))))
    folders[str(side)] = (1, side, side)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "weights.safetensors")
        created = create_model(network)
        rng = np.random.default_rng(0)
        random = jax.tree.map(
            lambda leaf: (0.05 * rng.standard_normal(leaf.shape)).astype(leaf.dtype),
            variable_shapes(created),
        )
        weights.save(model, created, random)
        for sides, (different, *limits) in folders.items():
            images = Path(folder, sides)
            make_images(images, count, draw_sizes(different, *limits))
            case = {"network": network, "images": count, "sizes": different, "sides": sides}
            for method in methods or METHODS:
                if rows.missing(case | {"method": method}):
                    rows.add(case | measure(method, model, images))
    rows.write_table()


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = ["network", "images", "sizes", "sides", "method", "programs compiled", "seconds"]
    head += ["of these compiling", "peak memory, MB", "seconds, second run"]
    lines = []
    for row in rows:
        first, second = row["first"], row["second"]
        cells = [row[name] for name in ("network", "images", "sizes", "sides", "method")]
        cells += [first["programs"], f"{first['seconds']:.1f}", f"{first['compiling']:.1f}"]
        cells += [f"{max(first['peak'], second['peak']) / 1e6:.0f}", f"{second['seconds']:.1f}"]
        lines.append(cells)
    return "\n".join(harness.table(head, lines))


if __name__ == "__main__":
    typer.run(main)
