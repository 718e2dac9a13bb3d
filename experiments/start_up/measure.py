"""From the start of a process to the first upscaled image, by us and by others.

    python -m experiments.start_up.measure --output experiments/start_up/results

Each network at its paper's size with the weights that a training starts from, one photograph of
`SIDE` pixels a side, from a file to a file. Contenders take turns; each run is a process of its
own, timed from its start to its end.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import typer

from experiments import harness
from experiments.start_up.others import ENGINES
from experiments.throughput.networks import NETWORKS, NINE, Network
from sr_jax import weights
from sr_jax.data.sources import load
from sr_jax.imaging.color import rgb_to_luma
from sr_jax.imaging.files import from_float, read_image, to_float, write_image
from sr_jax.imaging.resize import imresize
from sr_jax.interop.torch import to_torch
from sr_jax.models import create_model

SIDE = 96
FIXED = ("san", "csnln")  # exports of one size
NAMES = [*(name for name in NINE if name != "srgan"), "edsr_baseline"]  # SRGAN's is SRResNet
COLUMNS = ("cold", "warm", *ENGINES)
MOST_DIFFERENCE = 0.02  # mean, of 255 levels; bfloat16 gives 0.25 or more, but SRCNN


def prepare(name: str, network: Network, folder: Path) -> float:
    """Writes the image and the weights as each contender takes them.

    Returns:
        Seconds that `sr-jax export` took, the comparison with the network included.
    """
    import torch

    model = create_model(network.architecture, **network.hyperparameters)
    start = np.zeros((1, 16, 16, model.n_colors), np.float32)
    variables = jax.tree.map(np.asarray, jax.jit(model.init)(jax.random.key(0), start))
    weights.save(folder / "w.safetensors", model, variables)
    state = {key: torch.from_numpy(value) for key, value in to_torch(model, variables).items()}
    torch.save(state, folder / "w.pth")
    image = next(iter(load("photos", "validation"))).hr()[:SIDE, :SIDE]
    write_image(folder / "image.png", image)
    if network.interpolated:
        image = from_float(rgb_to_luma(to_float(imresize(image, network.scale)))[..., 0])
    write_image(folder / "input.png", image)
    command = [sys.executable, "-m", "sr_jax", "export", folder / "w.safetensors"]
    command += [folder / "w.onnx"]
    command += ["--scale", str(network.scale)] if name == "mdsr" else []
    command += ["--size", f"{SIDE}x{SIDE}"] if name in FIXED else []
    return run(command, {})


def run(command: Sequence[Any], variables: Mapping[str, str]) -> float:
    """Seconds of a process."""
    begin = time.perf_counter()
    subprocess.run(
        list(map(str, command)),
        check=True,
        cwd=harness.REPOSITORY,
        env=os.environ | variables,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - begin


def measure(name: str, rounds: int) -> dict[str, Any]:
    """The row of a network."""
    network = NETWORKS[name]
    samples: dict[str, list[float]] = {column: [] for column in COLUMNS}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        exporting = prepare(name, network, folder)
        kept = {"XDG_CACHE_HOME": str(folder / "cache")}  # of compiled programs
        ours = [sys.executable, "-m", "sr_jax", "upscale", folder / "image.png", "--overwrite"]
        ours += ["--model", folder / "w.safetensors", "--output", folder / "ours.png"]
        ours += ["--scale", str(network.scale)]
        other = [sys.executable, "-m", "experiments.start_up.others"]
        for _ in range(rounds):
            shutil.rmtree(folder / "cache", ignore_errors=True)
            for column in ("cold", "warm"):
                samples[column].append(run(ours, kept))
            for engine in ENGINES:
                file = folder / ("w.pth" if engine == "torch" else "w.onnx")
                words = [engine, name, file, folder / "input.png", folder / f"{engine}.png"]
                samples[engine].append(run([*other, *words], {}))
        first, *others = (read_image(folder / f"{engine}.png") for engine in ENGINES)
        for image in others:
            # SRResNet leaves [0, 1] far behind, and a few of its pixels show float32's rounding.
            assert np.abs(image.astype(int) - first).mean() <= MOST_DIFFERENCE, "engines differ"
    return {
        "exporting": exporting,
        "seconds": {column: harness.summary(taken) for column, taken in samples.items()},
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown of the rows."""
    titles = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
    head = ["network", *(f"{titles.get(c, f'ours, {c}')}, s" for c in COLUMNS), "exporting, s"]
    lines = []
    for row in rows:
        taken = [row["seconds"][column] for column in COLUMNS]
        cells = [f"{t['median']:.1f} ({t['min']:.1f} to {t['max']:.1f})" for t in taken]
        lines.append([row["network"], *cells, f"{row['exporting']:.1f}"])
    return "\n".join(harness.table(head, lines))


def main(
    output: Annotated[Path, typer.Option(help="Folder for rows.json and .md.")],
    only: Annotated[list[str] | None, typer.Option(help="A network; may be repeated.")] = None,
    rounds: Annotated[int, typer.Option(help="Turns of each contender.")] = 3,
) -> None:
    """Measures all networks; rows that exist are kept, so that a run can be resumed."""
    rows = harness.Rows(output, table)
    for name in only or NAMES:
        if rows.missing({"network": name}):
            rows.add({"network": name} | measure(name, rounds))


if __name__ == "__main__":
    typer.run(main)
