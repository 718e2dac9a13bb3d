"""Memory of this process that was freed and is kept for later by the C library."""

import ctypes
import sys


def give_back() -> None:
    """Gives it back to the system, where the C library is glibc; others have no call for it.

    A compiler leaves several hundred megabytes, of which XLA's larger arrays and temporaries use
    none: they are mapped anew each time.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
