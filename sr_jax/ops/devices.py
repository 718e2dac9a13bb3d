"""What the devices that share a batch tell each other, inside a step (`jax.shard_map`)."""

from typing import Any

import jax

BATCH_AXIS = "batch"


def sharing_devices() -> int:
    """How many devices share the batch whose rows this code computes on.

    1 but under `jax.shard_map`, or `jax.pmap`, over the axis `BATCH_AXIS`.
    """
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.shape[BATCH_AXIS] if BATCH_AXIS in mesh.manual_axes else 1


def mean_over_devices(tree: Any) -> Any:
    """The means of values that all devices which share a batch have computed from their rows."""
    return tree if sharing_devices() == 1 else jax.lax.pmean(tree, BATCH_AXIS)


def gather_over_devices(tree: Any) -> Any:
    """What every device that shares a batch has, stacked on a new leading axis."""
    return jax.lax.all_gather(tree, BATCH_AXIS)
