"""Commands in processes of their own, and what must not happen to them."""

import dataclasses
import os
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable

from sr_jax.commands.console import run

SECONDS = 60  # that a command may take
# What a command may take beyond what it had when it began: a tiny image and a tiny network.
MEGABYTES = 2000


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended: exit code (None: it was stopped), output, seconds, megabytes.

    `wrong` is what its results show that must not be.
    """

    code: int | None
    output: str
    seconds: float
    megabytes: float
    wrong: tuple[str, ...] = ()

    def failures(self) -> list[str]:
        """What must not be."""
        found = list(self.wrong)
        if "Traceback" in self.output:
            found.append("traceback")
        if self.code is None:
            found.append("hang")
        elif self.code < 0:
            found.append("crash")
        if self.megabytes > MEGABYTES:
            found.append("memory")
        return found


def fork(program: Callable[[], object]) -> Ended:
    """Runs a command in a copy of this process, which has imported what takes long."""
    ours, theirs = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if not child:
        os.setsid()
        for stream in (1, 2):
            os.dup2(theirs, stream)
        code = 1
        try:
            run(program)
            code = 0
        except SystemExit as ended:
            if isinstance(ended.code, str):
                print(ended.code, file=sys.stderr)
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(theirs)
    output, stopped = b"", False
    while True:
        left = start + SECONDS - time.monotonic()
        if left <= 0 or not select.select([ours], [], [], left)[0]:
            os.killpg(child, signal.SIGKILL)
            stopped = True
            break
        chunk = os.read(ours, 2**16)
        if not chunk:
            break
        output += chunk
    os.close(ours)
    _, status, used = os.wait4(child, 0)
    seconds = time.monotonic() - start
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code = None if stopped else os.waitstatus_to_exitcode(status)
    return Ended(code, output.decode(errors="replace"), seconds, (used.ru_maxrss - before) / 1024)
