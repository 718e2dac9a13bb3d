"""Matrix products whose rounding matters."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from sr_jax.ops.target import platform


def exact_matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """a @ b with at least float32's accuracy, even where the device's default is lower.

    It is for attention scores, whose exponential makes a relative error of the weight out of TF32's
    error of a large score, and for covariances, of which a square root is taken. On an NVIDIA GPU
    three products of TF32 parts have float32's accuracy at many times its speed. Products of
    bfloat16 operands are summed in float32, which is also the dtype of their result.
    """
    return jnp.matmul(
        a, b, precision=_precision(a.dtype), preferred_element_type=summed_dtype(a.dtype)
    )


def summed_dtype(dtype: DTypeLike) -> DTypeLike:
    """The dtype in which values of a dtype are summed: float32 at least."""
    return jnp.promote_types(dtype, jnp.float32)


def _precision(dtype: DTypeLike) -> lax.PrecisionLike:
    if platform() == "gpu" and dtype == jnp.float32:
        return lax.DotAlgorithmPreset.TF32_TF32_F32_X3
    return lax.Precision.HIGHEST
