"""What a training shows on the terminal: a bar that moves with every step, and a line an entry."""

from collections.abc import Mapping
from types import TracebackType

from absl import logging
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

# What a line begins with; other terms of the loss come behind.
_SHOWN = {"train/loss", "train/psnr", "train/learning_rate"}
_HIDDEN = {"train/gradient_norm", "train/parameter_norm"}  # TensorBoard has them


class Display:
    """The terminal of a training; used as a context, which shows the bar."""

    def __init__(self, name: str, start: int, stop: int, *, bar: bool = True) -> None:
        """Shows nothing yet.

        Args:
            name: of the network.
            start, stop: the first step and the one after the last.
            bar: False for all processes but the first.
        """
        self._stop = stop
        self._bicubic: dict[str, float] = {}
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn(name),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not (bar and console.is_terminal),
        )
        self._task = self._bar.add_task("", total=stop, completed=start, status="compiling ...")

    def __enter__(self) -> "Display":
        self._bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def step(self, done: int) -> None:
        """Moves the bar to so many steps, which have been given to the devices."""
        self._bar.update(self._task, completed=done, status="")

    def entry(self, done: int, logged: Mapping[str, float]) -> None:
        """Logs a line of `train/` means and `speed/` rates, after so many steps."""
        minutes, seconds = divmod(round((self._stop - done) * logged["speed/seconds_per_step"]), 60)
        left = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes < 600 else ""
        rate = logged["speed/images_per_second"]
        words = [
            f"{done}/{self._stop}",
            f"loss {logged['train/loss']:.3g}",
            f"psnr {logged['train/psnr']:.1f}",
            f"lr {logged['train/learning_rate']:.1e}".replace(".0e", "e").replace("e-0", "e-"),
            f"{rate:.3g} img/s" if rate < 1000 else f"{rate:.0f} img/s",
            f"data {logged['speed/data_wait_share']:.0%}",
            f"eta {left or f'{round(minutes / 60)} h'}",
        ]
        more = {name for name in logged if name.startswith("train/")} - _SHOWN - _HIDDEN
        words += [f"{name.removeprefix('train/')} {logged[name]:.3g}" for name in sorted(more)]
        logging.info("%s", " ".join(words))

    def validation(self, done: int, scores: Mapping[str, float], best: str = "") -> None:
        """Logs a line for every scale, with what bicubic interpolation has if that is known.

        Args:
            done: so many steps.
            scores: as `validate` gives them; those of bicubic interpolation are kept.
            best: what to say of the best validation so far.
        """
        for name, psnr in scores.items():
            kind, _, scale = name.partition("psnr_")
            if not scale:
                continue
            if "bicubic" in kind:
                self._bicubic[scale] = psnr
                logging.info("validation %s: bicubic %.2f dB", scale, psnr)
                continue
            bicubic = self._bicubic.get(scale)
            beside = f", bicubic {bicubic:.2f}" if bicubic is not None else ""
            where = f"{done}/{self._stop} validation {scale}"
            logging.info("%s: %.2f dB%s%s", where, psnr, beside, best)
