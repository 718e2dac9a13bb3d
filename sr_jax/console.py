"""What all commands share: how they end, and how they show progress."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


def run(program: Callable[[], object]) -> None:
    """Calls a program and turns the errors that it raises on purpose into one line.

    Set the environment variable SR_JAX_TRACEBACK=1 to see where an error came from.
    """
    try:
        program()
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("SR_JAX_TRACEBACK"):
            raise
        sys.exit(f"error: {' '.join(str(error).split())}")


def image_progress() -> "Progress":
    """A progress bar of images, with images per second and the time left; it leaves no trace."""
    from rich import progress
    from rich.text import Text

    class Rate(progress.ProgressColumn):
        def render(self, task: progress.Task) -> Text:
            return Text(f"{task.speed:.2f} images/s" if task.speed else "", "progress.data.speed")

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        Rate(),
        progress.TimeRemainingColumn(),
        transient=True,
        speed_estimate_period=300,  # large networks take minutes an image
    )
