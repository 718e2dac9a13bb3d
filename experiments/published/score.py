"""Published weights through `sr-jax convert` and `sr-jax evaluate`, beside the published figures.

    python -m experiments.published.score --weights ../shared/weights \
        --benchmarks ../shared/data/benchmarks --output experiments/published/results
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, NamedTuple

import typer


class Published(NamedTuple):
    """A weights file and the PSNR that its repository or paper gives, in dB."""

    file: str
    scales: tuple[int, ...]
    set5: tuple[float, ...]
    set14: tuple[float, ...]
    round_luma: bool = True


SRCNN = "srcnn_official"
KERAS = "srresnet_srgan_keras"
TABLE = (
    Published(f"{SRCNN}/9-1-5_91_images/x2.mat", (2,), (36.34,), (32.18,)),
    Published(f"{SRCNN}/9-1-5_91_images/x3.mat", (3,), (32.39,), (29.00,)),
    Published(f"{SRCNN}/9-1-5_91_images/x4.mat", (4,), (30.08,), (27.20,)),
    Published(f"{SRCNN}/9-1-5_ImageNet/x3.mat", (3,), (32.52,), (29.13,)),
    Published(f"{SRCNN}/9-3-5_ImageNet/x3.mat", (3,), (32.65,), (29.24,)),
    Published(f"{SRCNN}/9-5-5_ImageNet/x2.mat", (2,), (36.66,), (32.45,)),
    Published(f"{SRCNN}/9-5-5_ImageNet/x3.mat", (3,), (32.75,), (29.29,)),
    Published(f"{SRCNN}/9-5-5_ImageNet/x4.mat", (4,), (30.48,), (27.50,)),
    Published(
        "vdsr_official/VDSR_Official.mat", (2, 3, 4), (37.53, 33.66, 31.34), (33.06, 29.80, 28.02)
    ),
    Published(
        "vdsr_official/VDSR_Adam.mat", (2, 3, 4), (37.55, 33.67, 31.31), (33.04, 29.81, 27.99)
    ),
    Published(f"{KERAS}/pre_generator.h5", (4,), (32.01,), (28.53,), round_luma=False),
    Published(f"{KERAS}/gan_generator.h5", (4,), (29.18,), (26.17,), round_luma=False),
)


def score(entry: Published, weights: Path, benchmarks: Path, folder: Path) -> list[dict]:
    """Converts one file, scores it on Set5 and Set14, and returns the rows of the table."""
    converted, scores = folder / "weights.safetensors", folder / "scores.json"
    convert = ["convert", str(weights / entry.file), str(converted)]
    evaluate = ["evaluate", "--model", str(converted), "--output", str(scores)]
    evaluate += [str(benchmarks / name) for name in ("Set5", "Set14")]
    for scale in entry.scales:
        evaluate += ["--scale", str(scale)]
    if entry.round_luma:
        evaluate.append("--round-luma")
    for arguments in (convert, evaluate):
        subprocess.run(
            [sys.executable, "-m", "sr_jax.cli", *arguments], check=True, stdout=subprocess.DEVNULL
        )
    expected = {"Set5": entry.set5, "Set14": entry.set14}
    return [
        {
            **row,
            "file": entry.file,
            "published": expected[row["dataset"]][entry.scales.index(row["scale"])],
        }
        for row in json.loads(scores.read_text())
        if row["method"] != "bicubic"
    ]


def main(
    weights: Annotated[Path, typer.Option(help="Folder of the published weights.")],
    benchmarks: Annotated[Path, typer.Option(help="Folder that holds Set5 and Set14.")],
    output: Annotated[Path, typer.Option(help="Folder for table.md and rows.json.")],
    only: Annotated[str, typer.Option(help="Files whose name contains this.")] = "",
) -> None:
    """Scores all files; what is scored already is kept, so a run can be resumed."""
    output.mkdir(parents=True, exist_ok=True)
    store = output / "rows.json"
    rows = json.loads(store.read_text()) if store.exists() else []
    for entry in TABLE:
        if only not in entry.file or any(row["file"] == entry.file for row in rows):
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows += score(entry, weights, benchmarks, Path(folder))
        store.write_text(json.dumps(rows, indent=2) + "\n")
        print(entry.file, [f"{row['psnr']:.3f}" for row in rows if row["file"] == entry.file])
    lines = [
        "| file | set | scale | published dB | sr_jax dB | difference |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        difference = row["psnr"] - row["published"]
        cells = (row["file"], row["dataset"], f"x{row['scale']}", f"{row['published']:.2f}")
        lines.append(f"| {' | '.join(cells)} | {row['psnr']:.3f} | {difference:+.3f} |")
    (output / "table.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
