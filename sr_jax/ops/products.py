"""Matrix products whose rounding counts."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from sr_jax.ops.target import platform


def exact_matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """a @ b as float32 computes it at least, also where that is not the device's default.

    For scores of attention, whose exponential turns TF32's relative error of a large score into one
    of the weight, and for covariances that a root is taken of. Three products of TF32 parts have
    float32's accuracy at many times its speed on an NVIDIA GPU. Operands in bfloat16 are summed,
    and the result is kept, in float32.
    """
    return jnp.matmul(
        a, b, precision=_precision(a.dtype), preferred_element_type=summed_dtype(a.dtype)
    )


def summed_dtype(dtype: DTypeLike) -> DTypeLike:
    """In what values of a dtype are summed: float32 at least."""
    return jnp.promote_types(dtype, jnp.float32)


def _precision(dtype: DTypeLike) -> lax.PrecisionLike:
    if platform() == "gpu" and dtype == jnp.float32:
        return lax.DotAlgorithmPreset.TF32_TF32_F32_X3
    return lax.Precision.HIGHEST
