"""Training batches cut on the host by tf.data, and moved to the devices."""

from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import Mesh

from sr_jax.data.patches import PatchSampler
from sr_jax.mesh import global_batch


def batches(
    sampler: PatchSampler, mesh: Mesh, start: int, stop: int, *, threads: int = 2, prefetch: int = 4
) -> Iterator[dict[str, jax.Array]]:
    """The global batches of the steps start..stop-1, prepared ahead on the host and the devices.

    Every process prepares its own rows only.

    Args:
        sampler: what to draw.
        mesh: the devices that share each batch.
        start, stop: the steps.
        threads: threads that prepare batches; more than a few would compete with XLA's on a CPU.
        prefetch: batches kept ready on the host.

    Yields:
        {'lr': inputs, 'hr': targets}, global arrays split by rows over the mesh.

    Raises:
        ValueError: as `PatchSampler.rows`, or there is no TensorFlow.
    """
    try:
        import tensorflow as tf  # seconds to import, so only where training needs it
    except ImportError as error:
        raise ValueError(
            f"patches are cut on the host by TensorFlow, which cannot be imported ({error}): "
            "install it, or set data.placement to device"
        ) from error
    tf.config.set_visible_devices([], "GPU")  # TensorFlow would take all of the GPUs' memory
    rows_here = sampler.batch_size // jax.process_count()
    first_row = jax.process_index() * rows_here
    failures: list[ValueError] = []
    nothing = np.zeros((0, 0, 0, 0), np.float32)

    def prepare(step: np.int64) -> tuple[np.ndarray, np.ndarray]:
        try:
            return sampler.rows(int(step), first_row, first_row + rows_here)
        except ValueError as error:
            failures.append(error)  # tf.data would tell of it in pages of traces
            return nothing, nothing

    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1
    # All parallelism is set here. The tuner's thread sleeps for up to a minute at a time, and is
    # suspected of the half minute that some runs lost at their end.
    options.autotune.enabled = False
    dataset = (
        tf.data.Dataset.range(start, stop)
        .map(
            lambda step: tf.numpy_function(prepare, [step], (tf.float32, tf.float32)),
            num_parallel_calls=threads,
            deterministic=True,
        )
        .prefetch(prefetch)
        .with_options(options)
    )
    ahead: dict[str, jax.Array] | None = None
    for inputs, targets in dataset.as_numpy_iterator():
        if not inputs.size:
            raise failures[0]
        batch = global_batch(mesh, {"lr": inputs, "hr": targets})  # starts the transfer
        if ahead is not None:
            yield ahead
        ahead = batch
    if ahead is not None:
        yield ahead
