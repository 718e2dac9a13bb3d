"""Devices: process set-up, meshes, global arrays, and the options that XLA needs on each backend.

Training is data parallel: the batch is split over all devices of all processes, everything else
is replicated. Every device computes on its own rows (`jax.shard_map`); what they tell each other
are the means that `mean_over_devices` takes: gradients, metrics, statistics of normalisation.
"""

import functools
import importlib.util
import os
import signal
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sr_jax.ops.devices import BATCH_AXIS


def initialize(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Joins this process to the others of a run; does nothing for a single process.

    With no argument, the processes that SLURM's `srun` started and the hosts of a Cloud TPU are
    found by JAX itself.

    Args:
        coordinator: host:port of process 0.
        num_processes: how many there are.
        process_id: which one this is.

    Raises:
        ValueError: some of the three given, but not all; or the others do not answer.
    """
    given = (coordinator, num_processes, process_id)
    if all(value is None for value in given):
        if not _is_cluster():
            return
    elif any(value is None for value in given):
        raise ValueError("--coordinator, --num_processes and --process_id go together: give all")
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the processes of this run did not find each other: {error}") from error


def _is_cluster() -> bool:
    """Whether this is one of several processes that a scheduler started, or a Cloud TPU host."""
    if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:  # set by srun, not by sbatch alone
        return True
    devices = [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]
    return bool(devices) and importlib.util.find_spec("libtpu") is not None


def all_agree(flag: bool) -> bool:
    """Whether the flag is true in every process; all of them must ask. Waits for the last one."""
    return bool(np.all(multihost_utils.process_allgather(np.asarray(flag))))


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


def make_mesh(batch_size: int) -> Mesh:
    """A one-dimensional mesh over all devices of all processes.

    Args:
        batch_size: the global batch size that will be split over it.

    Raises:
        ValueError: the batch cannot be split evenly.
    """
    count = jax.device_count()
    if batch_size % count:
        raise ValueError(
            f"data.batch_size is {batch_size}, which {count} devices cannot share evenly; "
            f"choose a multiple of {count}"
        )
    return jax.make_mesh((count,), (BATCH_AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same value on every device."""
    return NamedSharding(mesh, PartitionSpec())


def split_rows(mesh: Mesh) -> NamedSharding:
    """The leading axis split over all devices."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXIS))


def global_batch(mesh: Mesh, rows: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Assembles the global batch of which every process holds its own rows.

    Args:
        mesh: as `make_mesh` returns it.
        rows: arrays whose leading axis holds this process's rows, in order of process.

    Returns:
        Global arrays, split over all devices.
    """
    sharding = split_rows(mesh)
    return {
        name: jax.make_array_from_process_local_data(sharding, value)
        for name, value in rows.items()
    }


def fetch(tree: Any) -> Any:
    """Replicated global arrays as arrays of this process's first device."""
    return jax.tree.map(lambda array: array.addressable_data(0), tree)


@functools.cache
def compiler_options() -> dict[str, str]:
    """What to pass to `jax.jit(compiler_options=...)` for networks of convolutions.

    XLA:CPU hands float32 convolutions to single-threaded YNNPACK fusions; sending them to
    multi-threaded Eigen instead makes training steps 2 to 3 times faster. Other backends, and
    versions of jaxlib that do not know the option, get none.
    """
    if jax.default_backend() != "cpu":
        return {}
    options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
    try:
        jax.jit(lambda x: x + 1, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return options
