"""StableHLO: one file for CPUs, CUDA GPUs and TPUs, by `jax.export`."""

import jax
import jax.export
import numpy as np

from sr_jax.export.program import Program, greatest_difference

PLATFORMS = ("cpu", "cuda", "tpu")


def to_stablehlo(program: Program) -> tuple[bytes, str]:
    """The serialized program, its weights inside, once it was compared with the network.

    Returns:
        (what `jax.export.deserialize` reads, the comparison in words).

    Raises:
        ValueError: it differs from the network.
    """
    exported = jax.export.export(jax.jit(program.function), platforms=PLATFORMS)(program.images)
    content = bytes(exported.serialize())
    again = jax.export.deserialize(bytearray(content))
    worst, shapes = greatest_difference(program, lambda images: np.asarray(again.call(images)))
    return content, f"{worst:.1e} of the largest value on noise of {' and '.join(shapes)}"
