"""What the commands share: how they end, what lengths look like, how progress is shown."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
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


def parse_length(option: str, value: str | None, *words: str) -> int | str | None:
    """What an option says: a number of pixels or one of the words; 'none' is None, as is nothing.

    Raises:
        ValueError: neither.
    """
    if value is None or value in words:
        return None if value == "none" else value
    try:
        return int(value)
    except ValueError:
        raise ValueError(
            f"{option} is {value!r}, expected {', '.join(words)} or a number of pixels"
        ) from None


def image_progress(console: "Console | None" = None) -> "Progress":
    """A bar of images, with images per second and the time left; it leaves no trace.

    Args:
        console: where it is shown, if that is a terminal; None is the standard error.
    """
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Speed(progress.ProgressColumn):
        def render(self, task: progress.Task) -> Text:
            return Text(f"{task.speed:.2f} images/s" if task.speed else "")

    console = console or Console(stderr=True)
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        Speed(),
        progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        speed_estimate_period=3600,  # an image may take minutes
    )
