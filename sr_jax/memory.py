"""How much memory is free for computation: of an accelerator, else of this machine; giving it back.

Where several processes share the memory of a machine, the environment variable SR_JAX_MEMORY_SHARE
says what part of it, up to 1, each of them may count on.
"""

import ctypes
import functools
import os
import sys
from pathlib import Path

import jax
import psutil

SHARE = "SR_JAX_MEMORY_SHARE"
_LARGEST = 2**25 - 2**14  # with its header, below the 32 MB up to which glibc raises its threshold


def available_memory() -> int:
    """Bytes that are free on the default device; on a CPU, in this machine or container."""
    device = jax.devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"]) - int(stats["bytes_in_use"])
    return int(_share() * free_ram())


def give_back() -> None:
    """Gives memory that was freed back to the system, where the C library is glibc.

    Other C libraries have no call for it. A compiler leaves several hundred megabytes, of which
    XLA's arrays and temporaries of over 32 MB use none: they are mapped anew each time.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


@functools.cache
def keep_freed() -> None:
    """Has glibc keep memory that was freed for what comes next; once, before programs run.

    glibc takes large blocks from the system and gives them back at once, until one of that size
    was freed: then it expects more of them, up to 32 MB (mallopt(3), M_MMAP_THRESHOLD). Each
    convolution of XLA:CPU takes and frees some megabytes, and without this call pays for them with
    page faults. Other C libraries have no such threshold.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]
        libc.free(libc.malloc(_LARGEST))


def free_ram(root: Path = Path("/")) -> int:
    """Bytes of RAM that this process may still take.

    What the system calls available, or what is left of a control group's limit if that is less.

    Args:
        root: where proc and sys are mounted.
    """
    return min([psutil.virtual_memory().available, *_left_in_groups(root)])


def _left_in_groups(root: Path) -> list[int]:
    """What the limits of this process's control group and of those above it leave."""
    mounted = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    left = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, names = mounted, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):  # version 1
            top = mounted / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            left += _left(folder, *names)
            if folder == top:
                break
    return left


def _left(folder: Path, limit: str, usage: str, reclaimable: str) -> list[int]:
    """Limit less usage, files that can be dropped not counted; nothing where there is no limit."""
    try:
        allowed = int((folder / limit).read_text())
        used = int((folder / usage).read_text())
        rows = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return [max(0, allowed - used + int(dict(rows).get(reclaimable, 0)))]
    except (OSError, ValueError):  # no such file, or "max"
        return []


def _share() -> float:
    text = os.environ.get(SHARE, "1")
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise ValueError(f"{SHARE} is {text!r}, expected a number above 0 and up to 1")
    return share
