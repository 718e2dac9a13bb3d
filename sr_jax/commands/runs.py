"""`sr-jax runs`: trainings beside one another, as a table and as curves."""

import dataclasses
import itertools
import json
import sys
import types
from pathlib import Path
from typing import Annotated

import typer


@dataclasses.dataclass
class Run:
    """What a workdir tells of its training.

    Attributes:
        name: of the workdir, below the folder that was asked for.
        network: its architecture.
        steps: that the recipe asks for.
        curves: name -> (steps, values), of TensorBoard's scalars.
    """

    name: str
    network: str
    steps: int
    curves: dict[str, tuple[list[int], list[float]]]

    def last(self, name: str) -> float | None:
        """The newest value of a curve."""
        return self.curves[name][1][-1] if name in self.curves else None

    def validation(self) -> list[str]:
        """The names of the PSNR curves, a scale each."""
        return sorted(name for name in self.curves if name.startswith("validation/psnr"))


def runs(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(help="Workdirs, or folders of them. Default: runs.", show_default=False),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="PNG of the curves: loss, and validation PSNR.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a picture that exists.")] = False,
) -> None:
    """Lists trainings, finished or not: how far they are, their loss and validation PSNR."""
    if plot:
        if plot.suffix.lower() != ".png":
            raise ValueError(f"--plot {plot}: expected the name of a PNG file")
        if plot.exists() and not overwrite:
            raise ValueError(f"{plot} exists: give --overwrite, or another name")
        import matplotlib  # noqa: F401  that it is missing is told before any work
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    found = [run for folder in folders or [Path("runs")] for run in _find(folder)]
    if not found:
        raise ValueError("no training there: a workdir holds config.json and TensorBoard's events")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("run", "network", "step", "loss", "PSNR", "best", "bicubic", "img/s"):
        table.add_column(column, overflow="fold", no_wrap=column != "run")
    for run in found:
        step = max((steps[-1] for steps, _ in run.curves.values()), default=0)
        for row, name in enumerate(run.validation() or [""]):
            scale = name.rpartition("_")[2]
            label = f"{run.name} {scale}" if len(run.validation()) > 1 else run.name
            # Without that of step 0, before anything is trained.
            trained = zip(*run.curves[name], strict=True) if name else ()
            best = max((psnr for step, psnr in trained if step), default=None)
            table.add_row(
                Text(label),
                Text(run.network if row == 0 else ""),
                f"{step}/{run.steps}" if row == 0 else "",
                _cell(run.last("train/loss"), ".3g") if row == 0 else "",
                _cell(run.last(name), ".2f"),
                _cell(best, ".2f"),
                _cell(run.last(f"validation/bicubic_psnr_{scale}"), ".2f"),
                _cell(run.last("speed/images_per_second"), ".3g") if row == 0 else "",
            )
    Console().print(table)
    if plot:
        _draw(plot, found)


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _find(folder: Path) -> list[Run]:
    """The trainings of a workdir, or of all workdirs below a folder."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder")
    return [
        read_run(path.parent, folder)
        for path in sorted(folder.rglob("config.json"))
        if any(path.parent.glob("events.out.tfevents.*"))
    ]


def read_run(workdir: Path, folder: Path) -> Run:
    """What a workdir below a folder tells; ValueError where its config.json is damaged."""
    # TensorBoard reads its files without TensorFlow where there is a module of this name.
    sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    try:
        config = json.loads((workdir / "config.json").read_text())
        network, steps = str(config["model"]["name"]), int(config["train"]["steps"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{workdir}/config.json is damaged ({error})") from None
    events = EventAccumulator(str(workdir), size_guidance={"tensors": 0})
    events.Reload()
    curves = {}
    for name in events.Tags()["tensors"]:
        if name.startswith(("train/", "validation/", "speed/")):
            # A run that was killed repeats the steps since its last checkpoint.
            values = {
                event.step: float(make_ndarray(event.tensor_proto))
                for event in events.Tensors(name)
            }
            curves[name] = (sorted(values), [values[step] for step in sorted(values)])
    name = "." if workdir == folder else str(workdir.relative_to(folder))
    return Run(workdir.name if name == "." else name, network, steps, curves)


def _draw(path: Path, found: list[Run]) -> None:
    """Loss at the left, validation PSNR with bicubic interpolation dashed at the right."""
    import io

    from matplotlib.figure import Figure

    from sr_jax.storage import write_bytes

    figure = Figure(figsize=(11, 4.2), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, run in enumerate(found):
        colour = f"C{number % 10}"
        if "train/loss" in run.curves:
            left.plot(*run.curves["train/loss"], color=colour, label=run.name, linewidth=1)
        for name, line in zip(run.validation(), itertools.cycle(("-", "-.", ":"))):
            scale = name.rpartition("_")[2]
            style = {"color": colour, "linestyle": line, "marker": "."}
            right.plot(*run.curves[name], label=f"{run.name} {scale}", **style)
            bicubic = run.last(f"validation/bicubic_psnr_{scale}")
            if bicubic is not None:
                right.axhline(bicubic, color=colour, linestyle="--", linewidth=0.8)
    left.set(title="loss", xlabel="step", yscale="log")
    right.set(title="validation PSNR, dB; bicubic dashed", xlabel="step")
    for axis in (left, right):
        axis.grid(alpha=0.3)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_bytes(path, content.getvalue())
