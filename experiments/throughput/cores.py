"""How far apart the cores are: on a virtual machine they move, and do not always share a cache.

SRResNet in sr_jax is slower while a message takes long, PyTorch's is not: NOTES.md, "Two speeds".
"""

import mmap
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time

BATCHES, MESSAGES = 50, 500
READY = 255  # no message has this value
LONGEST = 5.0  # seconds that are spent where other processes take the cores
MOST_LOOKS = 10**8  # at an answer: some seconds


def latency() -> float:
    """Seconds that a byte takes from the first core to the second and back; 0 with a single core.

    Two Python processes write and read a byte each, so that half of it and more is Python's.

    Raises:
        RuntimeError: the other process ended, or does not answer.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return 0.0
    with tempfile.TemporaryFile() as file:
        file.write(bytes(128))  # each byte in a cache line of its own
        file.flush()
        os.sched_setaffinity(0, cores[:1])
        try:
            command = [sys.executable, "-I", __file__, str(file.fileno()), str(cores[1])]
            with subprocess.Popen(command, pass_fds=[file.fileno()]) as echo:
                try:
                    shared = mmap.mmap(file.fileno(), 128)
                    while shared[64] != READY and echo.poll() is None:
                        time.sleep(1e-3)
                    if echo.poll() is not None:
                        raise RuntimeError(f"{' '.join(command)} ended with {echo.returncode}")
                    seconds = _send(shared)
                finally:
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
            for _ in range(MOST_LOOKS):
                if shared[64] == value:
                    break
            else:
                raise RuntimeError("the process on the other core does not answer")
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
    signal.alarm(120)  # where the parent was killed
    os.sched_setaffinity(0, [int(sys.argv[2])])
    _echo(mmap.mmap(int(sys.argv[1]), 128))
