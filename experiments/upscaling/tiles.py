"""What tiles change: PSNR between tiled and whole results, against the original, and at joins.

    python -m experiments.upscaling.tiles --benchmark ../shared/data/benchmarks/Set5 \
        --weights runs/rcan/weights.safetensors --output experiments/upscaling/results

Networks without a weights file are measured with random weights, whose PSNR against the original
means nothing and is left out.
"""

import itertools
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import typer

from experiments import harness
from sr_jax import weights as weights_files
from sr_jax.data.degradation import downscale
from sr_jax.data.sources import list_folder
from sr_jax.imaging.files import from_float, to_float
from sr_jax.imaging.metrics import psnr, score_luma
from sr_jax.inference.layout import layout
from sr_jax.inference.program import input_size, output_factor
from sr_jax.inference.settings import Settings
from sr_jax.inference.tiling import tile_starts
from sr_jax.inference.upscaler import upscale_rgb
from sr_jax.models import (
    Variables,
    create_model,
    describe_model,
    example_images,
)
from sr_jax.models.network import Network

NETWORKS = (
    *("srcnn_955", "vdsr", "srresnet", "edsr_baseline", "edsr", "mdsr"),
    *("rcan", "san", "csnln"),
)
OVERLAPS: tuple[int | str | None, ...] = (0, 8, None, "exact")
NEAR = 2  # output pixels on either side of a join that count as its own


def joins(cut: Any, factor: int, divisor: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the output in the middle of what two tiles share."""
    places = []
    for length, tile in zip(cut.size, cut.tile, strict=True):
        starts = tile_starts(length, tile, cut.overlap, divisor)
        pairs = itertools.pairwise(starts)
        places.append(np.array([factor * (a + b + tile) // 2 for a, b in pairs], int))
    return places[0], places[1]


def at_joins(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> tuple[float, float]:
    """Mean of (H, W) values near the joins, and elsewhere (NaN where there is no such place)."""
    near = np.zeros(values.shape, bool)
    for row in rows:
        near[max(0, row - NEAR) : row + NEAR] = True
    for column in columns:
        near[:, max(0, column - NEAR) : column + NEAR] = True
    return (
        float(values[near].mean()) if near.any() else float("nan"),
        float(values[~near].mean()) if not near.all() else float("nan"),
    )


def roughness(image: np.ndarray) -> np.ndarray:
    """Sum of the absolute second differences of (H, W, C) along both axes: (H, W)."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[2:, 1:-1] - 2 * image + padded[:-2, 1:-1]
    columns = padded[1:-1, 2:] - 2 * image + padded[1:-1, :-2]
    return (np.abs(rows) + np.abs(columns)).mean(axis=-1)


def measure(
    model: Network,
    variables: Variables,
    images: list[tuple[np.ndarray, np.ndarray]],
    scale: int,
    settings: Settings,
) -> dict[str, float]:
    """Means over the images of what tiles change; images are pairs of uint8 (LR, HR)."""
    rows = []
    for lr, hr in images:
        image = to_float(lr)
        whole = upscale_rgb(model, variables, image, scale)
        tiled = upscale_rgb(model, variables, image, scale, settings)
        size = input_size(model, *lr.shape[:2], scale)
        cut = layout(model, variables, size, scale, settings)
        places = joins(cut, output_factor(model, scale), model.size_divisor)
        change = np.abs(np.float64(tiled) - whole)
        near, elsewhere = at_joins(change.mean(axis=-1), *places)
        rough_near, _ = at_joins(roughness(tiled), *places)
        rough_whole, _ = at_joins(roughness(whole), *places)
        rows.append(
            {
                "overlap": cut.overlap,
                "whole": score_luma(from_float(whole), hr, border=scale)[0],
                "tiled": score_luma(from_float(tiled), hr, border=scale)[0],
                "agreement": psnr(tiled.clip(0, 1) * 255.0, whole.clip(0, 1) * 255.0),
                "largest": 255 * float(change.max()),
                "near": 255 * near,
                "elsewhere": 255 * elsewhere,
                "roughness": rough_near / rough_whole,
            }
        )
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def networks(files: list[Path]) -> list[tuple[str, Network, Variables]]:
    """Those of the files, and the others with random weights: (file or 'random', model, ...)."""
    found = []
    for file in files:
        found.append((file.name, *weights_files.load(weights_files.find(file))))
    given = {type(model) for _, model, _ in found}
    for name in NETWORKS:
        model = create_model(name)
        if type(model) not in given:
            init = jax.jit(model.init)
            found.append(("random", model, init(jax.random.key(0), example_images(model))))
    return found


def main(
    benchmark: Annotated[Path, typer.Option(help="Folder of HR images, such as Set5.")],
    output: Annotated[Path, typer.Option(help="Folder for tiles.json and .md.")],
    weights: Annotated[
        list[Path] | None, typer.Option(help="A weights file or workdir; may be repeated.")
    ] = None,
    tile: Annotated[int, typer.Option(help="Side of a tile, in pixels of the input.")] = 64,
    count: Annotated[int, typer.Option(help="How many images of the folder.")] = 5,
    only: Annotated[str, typer.Option(help="Networks whose name contains this.")] = "",
) -> None:
    """Measures all networks; rows that exist are kept, so that a run can be resumed."""
    rows = harness.Rows(output, table, "tiles")
    for source, model, variables in networks(weights or []):
        name, _ = describe_model(model)
        if only not in name:
            continue
        scale = (model.known_scales or (2,))[0]
        originals = [pair.hr(scale) for pair in list_folder(benchmark)[:count]]
        images = [(downscale(hr, scale), hr) for hr in originals]
        for overlap in OVERLAPS:
            radius = model.receptive_radius
            if overlap == "exact" and (radius is None or 2 * radius >= tile):
                continue
            case = {"network": name, "weights": source, "scale": scale, "tile": tile}
            case["asked"] = "default" if overlap is None else overlap
            if rows.missing(case):
                settings = Settings(tile=tile, overlap=overlap)
                rows.add(case | measure(model, variables, images, scale, settings))
    rows.write_table()


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = ["network", "weights", "scale", "tile", "overlap", "Y-PSNR whole, dB", "tiled, dB"]
    head += ["tiled against whole, dB", "largest change, /255", "mean change at joins, /255"]
    head += ["elsewhere, /255", "roughness at joins, tiled over whole"]
    lines = []
    for row in rows:
        trained = row["weights"] != "random"
        cells = [
            row["network"],
            row["weights"],
            f"x{row['scale']}",
            row["tile"],
            f"{row['overlap']:.0f} ({row['asked']})",
            f"{row['whole']:.3f}" if trained else "",
            f"{row['tiled']:.3f}" if trained else "",
            f"{row['agreement']:.1f}",
            f"{row['largest']:.3g}",
            f"{row['near']:.2g}",
            f"{row['elsewhere']:.2g}",
            f"{row['roughness']:.4f}",
        ]
        lines.append(cells)
    return "\n".join(harness.table(head, lines))


if __name__ == "__main__":
    typer.run(main)
