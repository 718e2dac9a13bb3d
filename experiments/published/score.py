"""Published weights through `sr-jax convert` and `sr-jax evaluate`, beside the published figures.

    python -m experiments.published.score --weights ../shared/weights \
        --benchmarks ../shared/data/benchmarks --output experiments/published/results
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from experiments import harness
from sr_jax.evaluation.published import published
from sr_jax.imaging.color import rgb_to_luma
from sr_jax.imaging.files import read_image, to_float
from sr_jax.imaging.listing import list_images
from sr_jax.imaging.metrics import psnr, shave, ssim
from sr_jax.imaging.resize import imresize

# How far a figure that was published with two, four or three decimals may lie from ours.
TOLERANCES = {"psnr": 0.01, "ssim": 0.0005, "lpips": 0.001}


class Entry(NamedTuple):
    """A weights file, or 'bicubic', and what its repository or paper gives.

    Attributes:
        file: under the folder of the published weights.
        scales: the factors.
        figures: (quantity, data set) -> a figure for each scale; quantities as in TOLERANCES.
        round_luma: the convention of the figures.
    """

    file: str
    scales: tuple[int, ...]
    figures: dict[tuple[str, str], tuple[float, ...]]
    round_luma: bool = True


def psnrs(set5: tuple[float, ...], set14: tuple[float, ...]) -> dict:
    return {("psnr", "Set5"): set5, ("psnr", "Set14"): set14}


def bicubic() -> Iterator[tuple[tuple[str, str], tuple[float, ...]]]:
    for dataset in ("Set5", "Set14", "B100"):
        figures = [published("bicubic", dataset, scale) for scale in (2, 3, 4)]
        for quantity in ("psnr", "ssim"):
            yield (quantity, dataset), tuple(getattr(f, quantity) for f in figures)


SRCNN = "srcnn_official"
VDSR = "vdsr_official"
KERAS = "srresnet_srgan_keras"
TABLE = (
    Entry("bicubic", (2, 3, 4), dict(bicubic())),
    Entry("bicubic", (4,), {("lpips", "Set5"): (0.280,)}, round_luma=False),
    Entry(f"{SRCNN}/9-1-5_91_images/x2.mat", (2,), psnrs((36.34,), (32.18,))),
    Entry(f"{SRCNN}/9-1-5_91_images/x3.mat", (3,), psnrs((32.39,), (29.00,))),
    Entry(f"{SRCNN}/9-1-5_91_images/x4.mat", (4,), psnrs((30.08,), (27.20,))),
    Entry(f"{SRCNN}/9-1-5_ImageNet/x3.mat", (3,), psnrs((32.52,), (29.13,))),
    Entry(f"{SRCNN}/9-3-5_ImageNet/x3.mat", (3,), psnrs((32.65,), (29.24,))),
    Entry(f"{SRCNN}/9-5-5_ImageNet/x2.mat", (2,), psnrs((36.66,), (32.45,))),
    Entry(f"{SRCNN}/9-5-5_ImageNet/x3.mat", (3,), psnrs((32.75,), (29.29,))),
    Entry(f"{SRCNN}/9-5-5_ImageNet/x4.mat", (4,), psnrs((30.48,), (27.50,))),
    Entry(
        f"{VDSR}/VDSR_Official.mat",
        (2, 3, 4),
        psnrs((37.53, 33.66, 31.34), (33.06, 29.80, 28.02)),
    ),
    Entry(f"{VDSR}/VDSR_Adam.mat", (2, 3, 4), psnrs((37.55, 33.67, 31.31), (33.04, 29.81, 27.99))),
    Entry(
        f"{KERAS}/pre_generator.h5",
        (4,),
        psnrs((32.01,), (28.53,)) | {("lpips", "Set5"): (0.214,)},
        round_luma=False,
    ),
    Entry(
        f"{KERAS}/gan_generator.h5",
        (4,),
        psnrs((29.18,), (26.17,)) | {("lpips", "Set5"): (0.206,)},
        round_luma=False,
    ),
)


# Bicubic interpolation a second time, by other authors and another protocol: x2, x3, x4 of the
# README of github.com/jbhuang0604/SelfExSR (Huang et al., CVPR 2015).
SELFEXSR = {
    ("psnr", "Set5"): (33.64, 30.39, 28.42),
    ("ssim", "Set5"): (0.9292, 0.8678, 0.8101),
    ("psnr", "Set14"): (30.22, 27.53, 25.99),
    ("ssim", "Set14"): (0.8683, 0.7737, 0.7023),
    ("psnr", "B100"): (29.55, 27.20, 25.96),
    ("ssim", "B100"): (0.8425, 0.7382, 0.6672),
}


def score_selfexsr(benchmarks: Path) -> list[dict[str, Any]]:
    """Colour images are reduced and enlarged in RGB, compared on the luma that MATLAB's rgb2ycbcr
    gives for 8 bits, which is rounded; grey images are compared as they are."""
    rows = []
    for dataset in dict.fromkeys(dataset for _, dataset in SELFEXSR):
        for index, scale in enumerate((2, 3, 4)):
            scores = [
                _score_rgb(read_image(path), scale)
                for path in list_images(benchmarks / dataset / "HR")
            ]
            for quantity, mean in zip(("psnr", "ssim"), np.mean(scores, axis=0), strict=True):
                names = {"file": "bicubic (SelfExSR)", "dataset": dataset, "scale": scale}
                figure = SELFEXSR[quantity, dataset][index]
                rows.append(
                    {**names, "quantity": quantity, "published": figure, "sr_jax": float(mean)}
                )
    return rows


def _score_rgb(image: np.ndarray, scale: int) -> tuple[float, float]:
    height, width = (side // scale * scale for side in image.shape[:2])
    reference = image[:height, :width]
    pair = imresize(imresize(reference, 1 / scale), scale), reference
    if image.ndim == 3 and image.shape[2] == 3:
        pair = tuple(np.floor(255 * rgb_to_luma(to_float(colour)) + 0.5) for colour in pair)
    enlarged, reference = (shave(luma.astype(np.float64), scale) for luma in pair)
    return psnr(enlarged, reference), ssim(enlarged, reference)


def score(entry: Entry, weights: Path, benchmarks: Path, folder: Path) -> list[dict[str, Any]]:
    """Converts one file, scores it, and returns the rows of the table."""
    model, scores = "bicubic", folder / "scores.json"
    if entry.file != model:
        model = str(folder / "weights.safetensors")
        _sr_jax("convert", str(weights / entry.file), model)
    arguments = ["--model", model, "--output", str(scores)]
    arguments += [str(benchmarks / name) for name in dict.fromkeys(d for _, d in entry.figures)]
    for scale in entry.scales:
        arguments += ["--scale", str(scale)]
    arguments += ["--round-luma"] if entry.round_luma else []
    with_lpips = any(quantity == "lpips" for quantity, _ in entry.figures)
    _sr_jax("evaluate", *arguments, *(["--lpips"] if with_lpips else []))

    means = json.loads(scores.read_text())
    if with_lpips:
        means += json.loads(scores.with_suffix(".lpips.json").read_text())["means"]
    rows = []
    for (quantity, dataset), figures in entry.figures.items():
        for scale, figure in zip(entry.scales, figures, strict=True):
            (ours,) = (
                mean[quantity]
                for mean in means
                if quantity in mean
                and (mean["dataset"], mean["scale"]) == (dataset, scale)
                and (mean["method"] == "bicubic") == (model == "bicubic")
            )
            names = {"file": entry.file, "dataset": dataset, "scale": scale}
            rows.append({**names, "quantity": quantity, "published": figure, "sr_jax": ours})
    return rows


def _sr_jax(*arguments: str) -> None:
    command = [sys.executable, "-m", "sr_jax", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main(
    weights: Annotated[Path, typer.Option(help="Folder of the published weights.")],
    benchmarks: Annotated[Path, typer.Option(help="Folder that holds Set5, Set14 and B100.")],
    output: Annotated[Path, typer.Option(help="Folder for rows.json and .md.")],
    only: Annotated[str, typer.Option(help="Files whose name contains this.")] = "",
) -> None:
    """Scores all files that have no rows yet, and writes the table."""
    rows = harness.Rows(output, table)
    again = "bicubic (SelfExSR)"
    if only in again and rows.missing({"file": again}):
        for row in score_selfexsr(benchmarks):
            rows.add(row)
    for entry in TABLE:
        quantities = {quantity for quantity, _ in entry.figures}
        known = {row["quantity"] for row in rows.found if row["file"] == entry.file}
        if only in entry.file and not quantities <= known:
            with tempfile.TemporaryDirectory() as folder:
                for row in score(entry, weights, benchmarks, Path(folder)):
                    rows.add(row)
    rows.write_table()
    agreeing = sum(
        abs(row["sr_jax"] - row["published"]) <= TOLERANCES[row["quantity"]] for row in rows.found
    )
    print(f"{agreeing} of {len(rows.found)} figures agree with the published ones")


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = ["file", "set", "scale", "quantity", "published", "sr_jax", "difference"]
    lines = []
    for row in rows:
        quantity, difference = row["quantity"], row["sr_jax"] - row["published"]
        digits = 2 if quantity == "psnr" else 4 if quantity == "ssim" else 3
        cells = [row["file"], row["dataset"], f"x{row['scale']}", quantity]
        cells.append(f"{row['published']:.{digits}f}")
        cells += [f"{row['sr_jax']:.{digits + 1}f}", f"{difference:+.{digits + 1}f}"]
        lines.append(cells)
    return "\n".join(harness.table(head, lines))


if __name__ == "__main__":
    typer.run(main)
