"""The learning rate of every recipe, and that of a run that was stopped and resumed.

    python -m experiments.schedules.plot --output experiments/schedules

The first nine panels are functions of the configs. The last is what a training logged: a small EDSR
whose rate falls four times, stopped by SIGTERM in the middle and started again.
"""

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import jax
import matplotlib.pyplot as plt
import numpy as np
import typer
from matplotlib.ticker import FuncFormatter
from ml_collections import ConfigDict
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from configs import edsr
from sr_jax.recipe import read_schedule

RECIPES = ("srcnn", "vdsr", "srresnet", "srgan", "edsr", "mdsr", "rcan", "san", "csnln")
# (rate at the bottom, at the top) of a panel.
RATES = {"srcnn": (2e-6, 3e-4), "vdsr": (2e-5, 3e-1)}
OTHER_RATES = (2e-6, 3e-4)

RESUMED = {
    "model.n_resblocks": 1,
    "model.n_feats": 4,
    "data.lr_patch_size": 12,
    "data.batch_size": 4,
    "train.steps": 240,
    "train.log_every": 1,
    "train.eval_images": 1,
    "train.checkpoint_every": 60,
    "optimizer.decay_at": (40, 90, 150, 200),
}
STOP_AFTER = 60  # the checkpoint after which SIGTERM is sent; it takes a few steps to arrive
Points = list[tuple[int, float]]


def rates(config: ConfigDict, counts: np.ndarray) -> np.ndarray:
    """The learning rate at each of the given numbers of updates done."""
    return np.asarray(jax.vmap(read_schedule(config.optimizer))(counts))


def resumed_config() -> ConfigDict:
    """The config of the run that is stopped."""
    config = edsr.get_config("x2,baseline,photos")
    config.update_from_flattened_dict(RESUMED)
    return config


def stop_and_resume(workdir: Path) -> list[Points]:
    """Trains in two processes.

    Returns:
        For each process, what it logged: (updates done, learning rate of the last of them).

    Raises:
        RuntimeError: a process did not end as it should.
    """
    command = [sys.executable, "-m", "sr_jax.main", "--config=configs/edsr.py:x2,baseline,photos"]
    command += [f"--workdir={workdir}"]
    command += [f"--config.{field}={value}" for field, value in RESUMED.items()]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    with (workdir.parent / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        while not (workdir / "checkpoints" / str(STOP_AFTER)).exists():
            if process.poll() is not None:
                raise RuntimeError(f"the training ended too early, with code {process.returncode}")
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        if process.wait(300) != 128 + signal.SIGTERM:
            raise RuntimeError(f"the stopped training ended with code {process.returncode}")
        first = set(workdir.glob("events.*"))
        subprocess.run(command, check=True, stdout=log, stderr=log, env=environment, timeout=300)
    second = set(workdir.glob("events.*")) - first
    return [read_rates(files) for files in (first, second)]


def read_rates(files: set[Path]) -> Points:
    """The learning rates in event files of TensorBoard."""
    points = []
    for file in files:
        events = EventAccumulator(str(file), size_guidance={"tensors": 0})  # 0: keep all
        events.Reload()
        if "train/learning_rate" in events.Tags()["tensors"]:
            for event in events.Tensors("train/learning_rate"):
                points.append((event.step, float(make_ndarray(event.tensor_proto))))
    return sorted(points)


def check(processes: list[Points]) -> str:
    """Whether the two processes together logged the recipe, each update once.

    Returns:
        A sentence that says so.

    Raises:
        AssertionError: they did not.
    """
    points = np.array([point for process in processes for point in process])
    config = resumed_config()
    done = np.arange(1, config.train.steps + 1)
    np.testing.assert_array_equal(points[:, 0], done)
    np.testing.assert_array_equal(points[:, 1].astype(np.float32), rates(config, done - 1))
    return (
        f"stopped after {processes[0][-1][0]} of {len(done)} updates; both processes together "
        f"logged all {len(done)} rates once, each bit for bit the recipe's"
    )


def draw_recipe(axes: Any, name: str) -> None:
    """One recipe with its default arguments."""
    config = importlib.import_module(f"configs.{name}").get_config()
    counts = np.unique(np.linspace(0, config.train.steps - 1, 5000).astype(np.int32))
    values = rates(config, counts)
    axes.plot(counts, values, color="C0", linewidth=2)
    for layer, factor in config.optimizer.layer_rates.items():
        axes.plot(counts, values * factor, "--", color="C0", linewidth=1.5)
        axes.text(
            config.train.steps / 2, values[0] * factor * 1.25, f"last layer ({layer})", ha="center"
        )
    for at in np.flatnonzero(np.diff(values)):
        axes.axvline(counts[at + 1], color="0.7", linewidth=0.8, linestyle=":")
    kind = {"sgd": "SGD", "adam": "Adam"}[config.optimizer.name]
    axes.set_title(f"{name}: {kind}, {config.train.steps:,} updates", fontsize=10)
    axes.set(yscale="log", ylim=RATES.get(name, OTHER_RATES), xlim=(0, config.train.steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))
    axes.xaxis.set_major_locator(plt.MaxNLocator(5))
    axes.grid(axis="y", alpha=0.3)


def short(count: float) -> str:
    """12 000 as '12 k', 1 500 000 as '1.5 M'.

    >>> short(0), short(2490), short(300_000), short(1_500_000)
    ('0', '2.49 k', '300 k', '1.5 M')
    """
    for size, unit in ((1e6, " M"), (1e3, " k")):
        if count >= size:
            return f"{count / size:g}{unit}"
    return f"{count:g}"


def draw_resumed(axes: Any, processes: list[Points]) -> None:
    """The recipe of the stopped run as a line, what was logged as dots."""
    config = resumed_config()
    done = np.arange(1, config.train.steps + 1)
    axes.step(done, rates(config, done - 1), where="mid", color="0.75", linewidth=6, label="recipe")
    stopped = processes[0][-1][0]
    labels = (f"first process, until SIGTERM at update {stopped}", "second process")
    for points, label, colour in zip(processes, labels, ("C0", "C1"), strict=True):
        axes.plot(*zip(*points, strict=True), ".", markersize=4, color=colour, label=label)
    axes.axvline(stopped + 0.5, color="black", linewidth=1)
    axes.set_title("train/learning_rate of a run that was stopped and resumed", fontsize=10)
    axes.set(yscale="log", ylim=(4e-6, 1.6e-4), xlim=(0, config.train.steps), xlabel="update")
    axes.legend(loc="upper right")
    axes.grid(axis="y", alpha=0.3)


def main(output: Annotated[Path, typer.Option(help="Folder for schedules.png.")]) -> None:
    """Runs the training that is stopped, checks what it logged, and draws all panels."""
    with tempfile.TemporaryDirectory() as folder:
        processes = stop_and_resume(Path(folder) / "run")
    print(check(processes))
    plt.rcParams["font.size"] = 9
    figure = plt.figure(figsize=(11, 11), layout="constrained")
    grid = figure.add_gridspec(4, 3, height_ratios=(1, 1, 1, 1.3))
    for place, name in enumerate(RECIPES):
        axes = figure.add_subplot(grid[divmod(place, 3)])
        draw_recipe(axes, name)
        if place % 3 == 0:
            axes.set_ylabel("learning rate")
        if place // 3 == 2:
            axes.set_xlabel("updates done")
    axes = figure.add_subplot(grid[3, :])
    draw_resumed(axes, processes)
    axes.set_ylabel("learning rate")
    output.mkdir(parents=True, exist_ok=True)
    figure.savefig(output / "schedules.png", dpi=110)


if __name__ == "__main__":
    typer.run(main)
