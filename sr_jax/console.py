"""How every command ends: an error that the user can mend is one line and a non-zero exit."""

import os
import sys
from collections.abc import Callable


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
