"""Ten ordinary mistakes, their answers and seconds: python -m experiments.first_minutes.mistakes"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import typer

from experiments import harness
from sr_jax import weights
from sr_jax.imaging.files import write_image
from sr_jax.models import create_model, variable_shapes

# Typed in a folder with photo.png, broken.png (a text), net.safetensors (x2) and empty/.
MISTAKES = (
    "sr-jax upscale photo.png",
    "sr-jax upscale phto.png --model net.safetensors",
    "sr-jax upscale broken.png photo.png --model net.safetensors --output out",
    "sr-jax upscale photo.png --model nett.safetensors",
    "sr-jax upscale photo.png --model bicubic --scale 0",
    "sr-jax evaluate --model net.safetensors --scale 4 --output s.json .",
    "sr-jax evaluate --model net.safetensors --output s.json empty",
    "sr-jax train esdr",
    "sr-jax train edsr:x5",
    "sr-jax train edsr --smoke --set train.stepps=10",
    "sr-jax train edsr --smoke --set optimizer.learning_rate=-1",
    "sr-jax train edsr --data empty",
)


def prepare(folder: Path) -> None:
    """What the mistakes are made with."""
    rng = np.random.default_rng(0)
    write_image(folder / "photo.png", rng.integers(0, 255, (40, 60, 3), np.uint8))
    (folder / "broken.png").write_text("no image")
    (folder / "empty").mkdir()
    model = create_model("edsr_baseline", n_resblocks=1, n_feats=4)
    variables = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), variable_shapes(model))
    weights.save(folder / "net.safetensors", model, variables)


def main(
    output: Annotated[Path, typer.Option(help="Folder of mistakes.json and .md.")] = Path(
        "experiments/first_minutes/results"
    ),
) -> None:
    """Makes every mistake once, in a process of its own."""
    rows = harness.Rows(output, table, "mistakes")
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder))
        for typed in MISTAKES:
            if not rows.missing({"typed": typed}):
                continue
            command = [sys.executable, "-m", "sr_jax", *typed.split()[1:]]
            start = time.perf_counter()
            ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            seconds = time.perf_counter() - start
            lines = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
            answer = " / ".join(lines).replace(folder, "")
            rows.add(
                {"typed": typed, "code": ended.returncode, "answer": answer, "seconds": seconds}
            )


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown of the rows."""
    lines = [
        (
            f"`{row['typed']}`",
            row["answer"].replace("|", "\\|"),
            row["code"],
            f"{row['seconds']:.1f}",
        )
        for row in rows
    ]
    return "\n".join(harness.table(("typed", "answer", "exit code", "seconds"), lines))


if __name__ == "__main__":
    typer.run(main)
