"""All curves of the trainings: python -m experiments.quality.curves

Draws results/*.csv into results/curves.png: the loss, and the PSNR on the validation images, dashed
that of bicubic interpolation. Dotted lines are where a part ended and another one went on.
"""

import csv
import json
import statistics
from pathlib import Path

import typer
from matplotlib.figure import Figure

FOLDER = Path(__file__).parent / "results"


def main() -> None:
    """Writes results/curves.png."""
    paths = sorted(FOLDER.glob("*.csv"))
    figure = Figure(figsize=(9, 1.9 * len(paths)), dpi=110, layout="constrained")
    axes = figure.subplots(len(paths), 2, squeeze=False)
    for path, (left, right) in zip(paths, axes, strict=True):
        curves: dict[str, list[tuple[int, float]]] = {}
        with path.open() as file:
            for row in csv.DictReader(file):
                point = int(row["step"]), float(row["value"])
                curves.setdefault(row["curve"], []).append(point)
        steps, losses = zip(*curves.pop("train/loss"), strict=True)
        left.plot(steps, losses, linewidth=0.8)
        left.set_ylim(0, 2 * statistics.median(losses))
        lowest = float("inf")
        for color, scale in enumerate((2, 3, 4)):
            if points := curves.get(f"validation/psnr_x{scale}"):
                bicubic = curves[f"validation/bicubic_psnr_x{scale}"][-1][1]
                right.plot(*zip(*points, strict=True), f"C{color}", linewidth=1, label=f"x{scale}")
                right.axhline(bicubic, color=f"C{color}", linestyle="--", linewidth=0.8)
                lowest = min(lowest, bicubic)
        right.set_ylim(bottom=lowest - 0.5)
        for part in json.loads(path.with_suffix(".json").read_text())[:-1]:
            for axis in (left, right):
                axis.axvline(part["step"], color="grey", linestyle=":", linewidth=0.8)
        left.set_title(f"{path.stem}: loss", fontsize=8)
        right.set_title("validation PSNR, dB", fontsize=8)
        right.legend(fontsize=7, loc="lower right")
        for axis in (left, right):
            axis.tick_params(labelsize=7)
            axis.grid(linewidth=0.3)
    figure.savefig(FOLDER / "curves.png")


if __name__ == "__main__":
    typer.run(main)
