"""Devices: meshes and global arrays.

Training is data parallel: the batch is split over all devices of all processes, everything else
is replicated. Every device computes on its own rows (`jax.shard_map`). What the devices exchange
are the means that `mean_over_devices` takes: gradients, metrics, statistics of normalisation.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sr_jax.ops.devices import BATCH_AXIS


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
