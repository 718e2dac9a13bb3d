"""What programs print: a log of whole lines, and errors that the user can mend as one line each.

Set the environment variable SR_JAX_TRACEBACK=1 to see where an error came from.
"""

import logging
import os
import re
import sys
import threading
from collections.abc import Callable

_TRACES = bool(os.environ.get("SR_JAX_TRACEBACK"))
# Libraries tell every step of theirs; their warnings, and the metrics by clu, remain.
_TOLD = re.compile(r"/(sr_jax|clu)/[^/]*(/[^/]*)?$")


def run(program: Callable[[], object]) -> None:
    """Calls a program; errors that are raised on purpose become one line and a non-zero exit."""
    try:
        program()
    except (ValueError, OSError, FloatingPointError) as error:
        if _TRACES:
            raise
        sys.exit(f"error: {' '.join(str(error).split())}")


def log_to_terminal(*, warnings_only: bool = False) -> None:
    """Sends the log of a long-running program to the terminal, without the traces of libraries.

    What fails in their threads (writers of checkpoints and events) is raised again where the
    program next calls them, and told there.

    Args:
        warnings_only: of several processes, one tells for all.
    """
    from rich.logging import RichHandler

    handler: logging.Handler = RichHandler(show_path=False, log_time_format="%H:%M:%S")
    if not sys.stderr.isatty():  # a log file wants whole lines
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    handler.addFilter(_admit)
    handler.setLevel(logging.WARNING if warnings_only else logging.NOTSET)
    logging.getLogger().handlers = [handler]
    if not _TRACES:
        threading.excepthook = lambda _: None
        sys.unraisablehook = lambda _: None


def _admit(record: logging.LogRecord) -> bool:
    if not _TRACES:
        record.exc_info = record.exc_text = None
    return record.levelno > logging.INFO or bool(_TOLD.search(record.pathname))
