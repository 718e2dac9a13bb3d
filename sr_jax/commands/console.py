"""What programs print: a log of whole lines, and errors that the user can mend as one line each.

Set the environment variable SR_JAX_TRACEBACK=1 to see where an error came from.
"""

import logging
import os
import re
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

_TRACES = bool(os.environ.get("SR_JAX_TRACEBACK"))
# Libraries log every step they take; of them only warnings are shown.
_OURS = re.compile(r"/sr_jax/([^/]*/){0,2}[^/]*$")
# What fails in threads of Orbax (by asyncio) is raised again where the program next calls it.
_WRITERS = re.compile(r"/(orbax|tensorstore|asyncio)/")


# Packages that not every installation has: name -> extra that brings it.
_EXTRAS = {
    "clu": "train",
    "ml_collections": "train",
    "tensorboard": "train",
    "tensorflow": "train",
    "tensorflow_datasets": "div2k",
    "requests": "div2k",
    "matplotlib": "plots",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "huggingface_hub": "hub",
    "av": "video",
    "gradio": "page",
    "fsspec": "scale",
    "ray": "scale",
}


def run(program: Callable[[], object]) -> None:
    """Calls a program; errors that are raised on purpose become one line and a non-zero exit."""
    try:
        program()
    except KeyboardInterrupt:
        sys.exit(130)
    except (ValueError, OSError, FloatingPointError, ModuleNotFoundError) as error:
        package = (getattr(error, "name", None) or "").partition(".")[0]
        if _TRACES or (isinstance(error, ModuleNotFoundError) and package not in _EXTRAS):
            raise
        text = str(error)
        if isinstance(error, OSError) and error.strerror and error.filename:
            text = f"{error.filename}: {error.strerror}"
        elif package in _EXTRAS:
            text = f"this needs {package}: pip install 'sr-jax[{_EXTRAS[package]}]'"
        sys.exit(f"error: {' '.join(text.split())}")


def check_devices() -> None:
    """Raises ValueError where JAX finds none of the platforms that JAX_PLATFORMS names."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split()) or "no such device"
        raise ValueError(
            f"JAX cannot use JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')} here ({reason}): "
            "unset it, or install what that platform needs"
        ) from None


def run_old_name(command: Callable[..., None]) -> None:
    """Runs a command as `python -m sr_jax.COMMAND`, which is its name until the next release."""
    import typer

    name = command.__name__
    print(f"note: `python -m sr_jax.{name}` is now `python -m sr_jax {name}`", file=sys.stderr)
    run(lambda: typer.run(command))


def log_to_terminal(*, warnings_only: bool = False) -> None:
    """Sends the log of a long-running program to the terminal, without the traces of libraries.

    Args:
        warnings_only: for all processes of a run but one.
    """
    from rich.console import Console
    from rich.logging import RichHandler

    console = Console(stderr=True)
    handler: logging.Handler = RichHandler(
        console=console,
        show_level=False,
        show_path=False,
        log_time_format="%H:%M:%S",
        omit_repeated_times=False,
    )
    if not console.is_terminal:  # a log file wants whole lines
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    handler.addFilter(_admit)
    handler.setLevel(logging.WARNING if warnings_only else logging.NOTSET)
    logging.getLogger().handlers = [handler]
    if not _TRACES:
        threading.excepthook = _without_writers(threading.excepthook)
        sys.unraisablehook = _without_writers(sys.unraisablehook)


def _without_writers(hook: Callable[[Any], object]) -> Callable[[Any], None]:
    """An exception hook that passes over what the writers of checkpoints raise."""

    def call(failure: Any) -> None:
        if not _is_of_a_writer(failure.exc_traceback):
            hook(failure)

    return call


def _is_of_a_writer(trace: TracebackType | None) -> bool:
    while trace is not None:
        if _WRITERS.search(trace.tb_frame.f_code.co_filename):
            return True
        trace = trace.tb_next
    return False


def _admit(record: logging.LogRecord) -> bool:
    if not _TRACES:
        record.exc_info = record.exc_text = None
    return record.levelno > logging.INFO or bool(_OURS.search(record.pathname))


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


def printable(text: str) -> str:
    """Text with what is no UTF-8 of a file's name replaced."""
    return os.fsencode(text).decode(errors="replace")


def report_failure(console: "Console", failure: str) -> None:
    """Prints what went wrong with one thing of many, on one line, as it is."""
    text = f"error: {printable(failure)}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def image_progress(console: "Console | None" = None, unit: str = "images") -> "Progress":
    """A bar of images, with images per second and the time left; it leaves no trace.

    Args:
        console: where it is shown, if that is a terminal; None is the standard error.
        unit: what is counted.
    """
    from rich import progress
    from rich.console import Console
    from rich.text import Text

    class Speed(progress.ProgressColumn):
        def render(self, task: progress.Task) -> Text:
            return Text(f"{task.speed:.2f} {unit}/s" if task.speed else "")

    console = console or Console(stderr=True)
    return progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        Speed(),
        progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
        speed_estimate_period=3600,  # an image may take minutes
    )
