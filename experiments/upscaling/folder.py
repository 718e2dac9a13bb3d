"""A folder of images of many sizes: `sr-jax upscale` against a plain loop.

    python -m experiments.upscaling.folder --output experiments/upscaling/results

100 random crops of the photographs that come with the installed packages, in 60 sizes. Every method
runs in a process of its own and twice: first with nothing compiled, then with what the first run
left in the cache folder (the plain loop leaves nothing). Weights are random, which changes no time.
"""

import json
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
from sr_jax.models import Variables, create_model, forward

METHODS = {
    "plain loop": None,
    "--tile auto (default)": {},
    "--bucket": {"bucket": True},
}


def make_images(folder: Path, count: int, sizes: int, shortest: int, longest: int) -> None:
    """Crops of the photographs; of the sizes each occurs once before any occurs again."""
    rng = np.random.default_rng(0)
    photos = [pair.hr() for split in ("train", "validation") for pair in load("photos", split)]
    known: list[tuple[int, int]] = []
    while len(known) < sizes:
        height, width = rng.integers(shortest, longest, 2, endpoint=True)
        if (height, width) not in known:
            known.append((int(height), int(width)))
    for number in range(count):
        height, width = known[number % sizes]
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
    options = METHODS[method]
    if options is None:
        plain_loop(model, images, output)
    else:
        upscale([images], model=str(model), output=output, **options)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "programs": len(found), "compiling": sum(found)}


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
    count: Annotated[int, typer.Option(help="Images.")] = 100,
    sizes: Annotated[int, typer.Option(help="Different sizes among them.")] = 60,
    shortest: Annotated[int, typer.Option(help="Least side of an image, in pixels.")] = 240,
    longest: Annotated[int, typer.Option(help="Greatest side of an image, in pixels.")] = 360,
    run: Annotated[str, typer.Option(help="Used by the script itself: one run, as JSON.")] = "",
) -> None:
    """Measures all methods; rows that exist are kept, so that a run can be resumed."""
    if run:
        method, *paths = json.loads(run)
        print(json.dumps(one_run(method, *map(Path, paths))))
        return
    rows = harness.Rows(output, table, "folder")
    case = {"network": network, "images": count, "sizes": sizes, "sides": [shortest, longest]}
    with tempfile.TemporaryDirectory() as folder:
        model, images = Path(folder, "weights.safetensors"), Path(folder, "images")
        make_images(images, count, sizes, shortest, longest)
        created = create_model(network)
        rng = np.random.default_rng(0)
        random = jax.tree.map(
            lambda leaf: (0.05 * rng.standard_normal(leaf.shape)).astype(leaf.dtype),
            weights.variable_shapes(created),
        )
        weights.save(model, created, random)
        for method in METHODS:
            if rows.missing(case | {"method": method}):
                rows.add(case | measure(method, model, images))
    rows.write_table()


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = ["network", "folder", "method", "programs compiled", "images/s", "time spent compiling"]
    head += ["images/s, second run"]
    lines = []
    for row in rows:
        first, second = row["first"], row["second"]
        shortest, longest = row["sides"]
        cells = [
            row["network"],
            f"{row['images']} images, {row['sizes']} sizes, sides {shortest} to {longest}",
            row["method"],
            first["programs"],
            f"{row['images'] / first['seconds']:.2f}",
            f"{first['compiling'] / first['seconds']:.0%}",
            f"{row['images'] / second['seconds']:.2f}",
        ]
        lines.append(cells)
    return "\n".join(harness.table(head, lines))


if __name__ == "__main__":
    typer.run(main)
