"""VDSR's adjustable gradient clipping: which bound theta trains, at the paper's rate of 0.1.

    python -m experiments.vdsr_clipping.measure --output experiments/vdsr_clipping/results

The recipe of configs/vdsr.py on the embedded photos, but for the batch, the number of steps and
theta. All settings see the same batches.
"""

import time
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import typer
from ml_collections import ConfigDict

from configs import vdsr
from experiments import harness
from sr_jax.data.pipeline import batches
from sr_jax.evaluation.validation import validate
from sr_jax.mesh import fetch, make_mesh
from sr_jax.ops.target import compiler_options
from sr_jax.recipe import read_config
from sr_jax.train import make_state, make_updates
from sr_jax.training.losses import half_sum_of_squares
from sr_jax.training.steps import apply_network

COLOURS = {None: "0.4", 1e-2: "C3", 1e-3: "C1", 1e-4: "C2", 3e-5: "C4", 1e-5: "C0"}
# (theta, whether the rate falls, steps); theta None does not clip.
SETTINGS = (
    *((theta, False, 80) for theta in (None, 1e-2, 1e-3, 1e-4, 1e-5)),
    *((theta, True, 80) for theta in (1e-3, 1e-4, 1e-5)),
    *((theta, True, 240) for theta in (1e-4, 3e-5, 1e-5)),
)
BATCH_SIZE = 16  # of the paper's 64
WINDOW = 10  # steps that the plotted curves are averaged over


def recipe(theta: float | None, falling: bool, steps: int) -> ConfigDict:
    """The config of one setting; `falling` divides the rate by 10 after each quarter."""
    config = vdsr.get_config("photos").unlock()
    config.data.batch_size = BATCH_SIZE
    config.train.steps = steps
    config.optimizer.decay_every = steps // 4 if falling else 0
    if theta is None:
        config.optimizer.clip = "none"
    else:
        config.optimizer.clip_bound = theta
    return config.lock()


def measure(theta: float | None, falling: bool, steps: int) -> dict[str, Any]:
    """Trains one setting until the end or the first loss that is not finite."""
    parts = read_config(recipe(theta, falling, steps))
    model, sampler = parts.model, parts.sampler
    mesh = make_mesh(sampler.batch_size)
    state = make_state(parts, mesh)
    updates = make_updates(parts, mesh)
    row: dict[str, Any] = {
        "theta": theta,
        "falling": falling,
        "steps": steps,
        "loss": [],
        "loss_of_the_input": [],  # of the interpolated image itself: a residual of 0
        "gradient_norm": [],
        "diverged_at": None,
    }
    for step, batch in enumerate(batches(sampler, mesh, 0, steps)):
        if step == 1:
            start = time.perf_counter()  # the first step compiles
        state, metrics = updates[sampler.scale(step)](state, batch)
        loss = float(metrics["loss"])
        if not np.isfinite(loss):
            row["diverged_at"] = step + 1
            return row
        row["loss"].append(loss)
        row["loss_of_the_input"].append(float(half_sum_of_squares(batch["lr"], batch["hr"])))
        row["gradient_norm"].append(float(metrics["gradient_norm"]))
    row["seconds_per_step"] = (time.perf_counter() - start) / (steps - 1)
    row["clipped"] = clipped_shares(model, state, batch, theta)
    for network in (None, (model, fetch(state.variables()))):
        scores, _ = validate(network, parts.validation, parts.scales)
        row |= {name.split("/")[1]: v for name, v in scores.items() if "psnr" in name}
    return row


def clipped_shares(model: Any, state: Any, batch: Any, theta: float | None) -> dict[str, float]:
    """Share of the gradient's components beyond theta / rate, at the recipe's four rates."""
    if theta is None:
        return {}

    def loss(params: Any) -> jax.Array:
        output, _ = apply_network(model, params, state.rest, batch["lr"], jnp.float32, None)
        return half_sum_of_squares(output, batch["hr"])

    gradient = jax.jit(jax.grad(loss), compiler_options=compiler_options())(state.params)
    sizes = np.concatenate([np.abs(leaf).ravel() for leaf in jax.tree.leaves(gradient)])
    rates = (0.1, 0.01, 0.001, 0.0001)
    return {str(rate): float(np.mean(sizes > theta / rate)) for rate in rates}


def label(row: dict[str, Any]) -> str:
    """The name of a setting's theta."""
    return "no clipping" if row["theta"] is None else f"θ = {row['theta']:.0e}"


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Losses over steps, one panel for each kind of run."""
    kinds = {"rate 0.1": (False, 80), "falling rate": (True, 80), "the same, longer": (True, 240)}
    figure, panels = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    for panel, (title, (falling, steps)) in zip(panels, kinds.items(), strict=True):
        panel.axhline(1, color="black", linewidth=0.8)
        for row in rows:
            if (row["falling"], row["steps"]) == (falling, steps):
                draw(panel, row)
        if falling:
            for quarter in (1, 2, 3):
                panel.axvline(steps // 4 * quarter, color="0.5", linewidth=0.9, linestyle=":")
        panel.set(title=title, xlabel="step", yscale="log", ylim=(0.6, 1e7))
        panel.grid(axis="y", alpha=0.3)
        panel.legend(fontsize=8, loc="upper right", framealpha=1)
    panels[2].set_ylim(0.85, 2)
    panels[2].yaxis.set_major_formatter("{x:g}")
    panels[2].yaxis.set_minor_formatter("{x:g}")
    panels[0].set_ylabel("loss / loss of the bicubic input")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def draw(panel: Any, row: dict[str, Any]) -> None:
    """The losses of one setting, every step and averaged over the last `WINDOW` of them."""
    # Per batch, because patches differ far more from each other than networks do.
    ratio = np.array(row["loss"]) / np.array(row["loss_of_the_input"])
    steps = np.arange(1, len(ratio) + 1)
    name, colour = label(row), COLOURS[row["theta"]]
    if row["diverged_at"]:
        name += f": not finite at step {row['diverged_at']}"
        panel.plot(steps, ratio, "x", color=colour, markersize=9, label=name)
        return
    logs = np.concatenate([[0.0], np.cumsum(np.log(ratio))])
    first = np.maximum(steps - WINDOW, 0)
    mean = np.exp((logs[steps] - logs[first]) / (steps - first))
    panel.plot(steps, ratio, color=colour, alpha=0.2, linewidth=0.8)
    panel.plot(steps, mean, color=colour, label=name)


def table(rows: list[dict[str, Any]]) -> str:
    """The results in Markdown."""
    head = ["θ", "rate", "steps", "loss / loss of the input, last 20 steps"]
    head += ["PSNR over bicubic x2, x3, x4, dB", "clipped at rate 0.1, 0.01, 0.001, 0.0001"]
    lines = []
    for row in rows:
        cells = [
            "none" if row["theta"] is None else f"{row['theta']:.0e}",
            "falling" if row["falling"] else "constant",
            str(row["steps"]),
        ]
        if row["diverged_at"]:
            cells += [f"not finite at step {row['diverged_at']}", "", ""]
        else:
            ratio = np.array(row["loss"][-20:]) / np.array(row["loss_of_the_input"][-20:])
            gains = [row[f"psnr_x{s}"] - row[f"bicubic_psnr_x{s}"] for s in (2, 3, 4)]
            cells += [
                f"{np.exp(np.mean(np.log(ratio))):.3g}",
                ", ".join(f"{gain:+.2f}" for gain in gains),
                ", ".join(f"{100 * share:.3g} %" for share in row["clipped"].values()),
            ]
        lines.append(cells)
    return "\n".join(harness.table(head, lines))


def main(
    output: Annotated[Path, typer.Option(help="Folder for rows.json, rows.md and curves.png.")],
) -> None:
    """Measures all settings; what is in rows.json already is kept, so a run can be resumed."""
    rows = harness.Rows(output, table)
    for theta, falling, steps in SETTINGS:
        case = {"theta": theta, "falling": falling, "steps": steps}
        if rows.missing(case):
            rows.add(measure(theta, falling, steps))
    rows.write_table()
    plot(rows.found, output / "curves.png")


if __name__ == "__main__":
    typer.run(main)
