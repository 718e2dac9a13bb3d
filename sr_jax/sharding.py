"""Devices: process set-up, meshes, global arrays, and the options that XLA needs on each backend.

Training is data parallel: the batch is split over all devices of all processes, everything else
is replicated. `jax.jit` with `NamedSharding` does the communication.
"""

import functools
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

BATCH_AXIS = "batch"


def initialize(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> None:
    """Joins this process to the others of a run; does nothing for a single process.

    Args:
        coordinator: host:port of process 0. None: a single process.
        num_processes: how many there are.
        process_id: which one this is.

    Raises:
        ValueError: some of the three given, but not all.
    """
    given = (coordinator, num_processes, process_id)
    if all(value is None for value in given):
        return
    if any(value is None for value in given):
        raise ValueError("--coordinator, --num_processes and --process_id go together: give all")
    jax.distributed.initialize(coordinator, num_processes, process_id)


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
