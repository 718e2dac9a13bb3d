"""Does the cut-down recipe of every system learn? Its scores before and after, on photographs.

    python -m experiments.recipes.smokes --output experiments/recipes/results

Every row is the command `python -m sr_jax.main --config=configs/NAME.py:smoke`, run in a process of
its own; SRGAN starts from what SRResNet's smoke has trained, as the paper's does.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments import harness

NAMES = ("srcnn", "vdsr", "srresnet", "srgan", "edsr", "mdsr", "rcan", "san", "csnln")
ADVERSARIAL = (
    "train/content_loss",
    "train/adversarial_loss",
    "train/discriminator_loss",
    "train/discriminator_accuracy",
)


def smoke(name: str, runs: Path) -> dict[str, Any]:
    """Trains one smoke in `runs` and reads its scalars."""
    workdir = runs / name
    command = [sys.executable, "-m", "sr_jax.main", f"--config=configs/{name}.py:smoke"]
    command.append(f"--workdir={workdir}")
    if name == "srgan":
        command.append(f"--config.init_from={runs / 'srresnet'}")
    start = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - start
    curves = read_scalars(workdir)
    scales = [tag[-1] for tag in curves if tag.startswith("validation/psnr_x")]
    return {
        "config": name,
        "steps": json.loads((workdir / "config.json").read_text())["train"]["steps"],
        "seconds": seconds,
        "psnr": {
            scale: {
                "bicubic": curves[f"validation/bicubic_psnr_x{scale}"][0],
                "before": curves[f"validation/psnr_x{scale}"][0],
                "after": curves[f"validation/psnr_x{scale}"][-1],
            }
            for scale in scales
        },
        "loss": [curves["train/loss"][0], curves["train/loss"][-1]],
        "adversarial": {tag: curves[tag] for tag in ADVERSARIAL if tag in curves},
    }


def read_scalars(workdir: Path) -> dict[str, list[float]]:
    """Every scalar that a training logged, in order of steps."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(workdir), size_guidance={"tensors": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["tensors"] if tag.startswith(("train/", "validation/"))]
    return {tag: [float(make_ndarray(e.tensor_proto)) for e in events.Tensors(tag)] for tag in tags}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = ["smoke of", "steps", "seconds", "loss, first to last", "scale", "PSNR before, dB"]
    head += ["after", "bicubic"]
    lines = []
    for row in rows:
        first, last = row["loss"]
        cells = [row["config"], row["steps"], f"{row['seconds']:.0f}", f"{first:.3g} to {last:.3g}"]
        for scale, psnr in row["psnr"].items():
            scores = (f"{psnr[when]:.2f}" for when in ("before", "after", "bicubic"))
            lines.append([*cells, f"x{scale}", *scores])
    found = harness.table(head, lines)
    for row in rows:
        if row["adversarial"]:
            head = [row["config"], "first 10 steps", "last 10 steps"]
            curves = row["adversarial"].items()
            lines = [[name, f"{curve[0]:.4g}", f"{curve[-1]:.4g}"] for name, curve in curves]
            found += ["", *harness.table(head, lines)]
    return "\n".join(found)


def main(
    output: Annotated[Path, typer.Option(help="Folder for smokes.json and .md.")],
) -> None:
    """Runs all smokes; rows that exist are kept, so that a run can be resumed."""
    rows = harness.Rows(output, table, "smokes")
    with tempfile.TemporaryDirectory() as runs:
        for name in NAMES:
            if rows.missing({"config": name}):
                if name == "srgan" and not (Path(runs) / "srresnet").exists():
                    smoke("srresnet", Path(runs))  # which an earlier run trained and left nowhere
                rows.add(smoke(name, Path(runs)))
    rows.write_table()


if __name__ == "__main__":
    typer.run(main)
