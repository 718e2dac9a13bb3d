"""The processes of a run: joining, agreement, and a stop at the same step."""

import importlib.util
import os
import signal
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils


def initialize(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Joins this process to the others of a run; does nothing for a single process.

    With no argument, the variables JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID
    count; without these, the processes that SLURM's `srun`, Open MPI's `mpirun` or an indexed
    Kubernetes Job started and the hosts of a Cloud TPU are found by JAX itself.

    Args:
        coordinator: host:port of process 0.
        num_processes: how many there are.
        process_id: which one this is.

    Raises:
        ValueError: some of the three given, but not all; or the others do not answer.
    """
    if coordinator is None and num_processes is None and process_id is None:
        coordinator = os.environ.get("JAX_COORDINATOR_ADDRESS")
        num_processes, process_id = (
            _whole_number(name) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
        )
    given = (coordinator, num_processes, process_id)
    if all(value is None for value in given):
        if not _is_cluster():
            return
    elif any(value is None for value in given):
        raise ValueError("coordinator, num_processes and process_id go together: give all")
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the processes of this run did not find each other: {error}") from error


def _whole_number(name: str) -> int | None:
    """The value of an environment variable, None where it is not set."""
    text = os.environ.get(name)
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    raise ValueError(f"the environment variable {name} is {text!r}, expected a whole number")


def _is_cluster() -> bool:
    """Whether this is one of several processes that a scheduler started, or a Cloud TPU host."""
    # Set by srun, not by sbatch alone; by mpirun.
    if any((_whole_number(n) or 1) > 1 for n in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")):
        return True
    if {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= os.environ.keys():
        return True
    devices = [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]
    return bool(devices) and importlib.util.find_spec("libtpu") is not None


def all_agree(flag: bool) -> bool:
    """Whether the flag is true in every process; all of them must ask. Waits for the last one."""
    return bool(np.all(multihost_utils.process_allgather(np.asarray(flag))))


def from_first(text: str) -> str:
    """The text of process 0, in every process; all of them must ask."""
    if jax.process_count() == 1:
        return text
    length = int(multihost_utils.broadcast_one_to_all(np.asarray(len(text.encode()))))
    padded = np.frombuffer(text.encode().ljust(length)[:length], np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(padded)).tobytes().decode()


def sum_over_processes(values: np.ndarray) -> np.ndarray:
    """The sum of every process's array, all of one shape; all of them must ask."""
    if jax.process_count() == 1:
        return values
    return np.asarray(multihost_utils.process_allgather(values)).sum(axis=0)


class StopRequest:
    """Notices SIGTERM and SIGINT, and lets all processes of a run stop at the same step.

    Schedulers send SIGTERM before they take a machine away, to one process or to all. With several
    processes JAX's preemption service, which listens to SIGTERM, finds the step that all can reach.
    A second signal ends a single process at once.

    Attributes:
        signal: the number of the signal that came; SIGTERM if it came to another process.
    """

    def __init__(self) -> None:
        self.signal = 0

    def __enter__(self) -> "StopRequest":
        single = jax.process_count() == 1
        handlers = {signal.SIGINT: self._note if single else self._pass_on}
        if single:
            handlers[signal.SIGTERM] = self._note
        self._before = {number: signal.signal(number, f) for number, f in handlers.items()}
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def reached(self, step: int) -> bool:
        """Whether to stop after this step; every process must ask after every step."""
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            self.signal = self.signal or signal.SIGTERM
            return True
        return jax.process_count() == 1 and self.signal != 0

    def _note(self, number: int, frame: object) -> None:
        self.signal = number
        self._restore()

    def _pass_on(self, number: int, frame: object) -> None:
        self.signal = number
        os.kill(os.getpid(), signal.SIGTERM)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
