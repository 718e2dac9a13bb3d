"""How far apart the cores are: on a virtual machine they move, and do not always share a cache.

Between cores that share none our programs are slower, PyTorch's are not: NOTES.md, "Two speeds".
"""

import mmap
import os
import statistics
import subprocess
import sys
import tempfile
import time

BATCHES, MESSAGES = 50, 500
READY = 255  # no message has this value
LONGEST = 5.0  # seconds that are spent where other processes take the cores


def latency() -> float:
    """Seconds that a byte takes from one core to another and back; 0 with a single core.

    Two Python processes write and read a byte each, so that half of it and more is Python's.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return 0.0
    with tempfile.TemporaryFile() as file:
        file.write(bytes(128))  # each byte in a cache line of its own
        file.flush()
        os.sched_setaffinity(0, cores[:1])
        try:
            command = [sys.executable, __file__, str(file.fileno()), str(cores[1])]
            with subprocess.Popen(command, pass_fds=[file.fileno()]) as echo:
                shared = mmap.mmap(file.fileno(), 128)
                while shared[64] != READY and echo.poll() is None:
                    time.sleep(1e-3)
                if echo.poll() is not None:
                    raise RuntimeError(f"{' '.join(command)} ended with {echo.returncode}")
                seconds = _send(shared)
                echo.kill()
        finally:
            os.sched_setaffinity(0, cores)
    return statistics.median(seconds) / MESSAGES


def _send(shared: mmap.mmap) -> list[float]:
    found: list[float] = []
    while len(found) < BATCHES and sum(found) < LONGEST:
        start = time.perf_counter()
        for number in range(MESSAGES):
            shared[0] = value = number % 254 + 1
            while shared[64] != value:
                pass
        found.append(time.perf_counter() - start)
    return found


def _echo(shared: mmap.mmap) -> None:
    shared[64] = READY
    while True:
        for number in range(MESSAGES):
            value = number % 254 + 1
            while shared[0] != value:
                pass
            shared[64] = value


if __name__ == "__main__":
    os.sched_setaffinity(0, [int(sys.argv[2])])
    _echo(mmap.mmap(int(sys.argv[1]), 128))
