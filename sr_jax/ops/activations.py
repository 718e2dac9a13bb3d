"""ReLU with a gradient that needs only its result."""

import jax
import jax.numpy as jnp
from jax import lax

from sr_jax.ops.target import platform


def relu(x: jax.Array) -> jax.Array:
    """max(x, 0). Its gradient needs only the result, which the next layer keeps anyway."""
    return jnp.maximum(x, 0) if platform() == "any" else _relu(x)


@jax.custom_vjp
def _relu(x: jax.Array) -> jax.Array:
    return jnp.maximum(x, 0)


def _relu_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    y = _relu(x)
    # Without the barrier XLA compares the input of ReLU with zero. cuDNN's fused convolution, bias
    # and ReLU returns the output alone.
    return (y, y) if platform() == "cpu" else (lax.optimization_barrier(y),) * 2


def _relu_backward(y: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    return (jnp.where(y > 0, cotangent, 0),)


_relu.defvjp(_relu_forward, _relu_backward)
