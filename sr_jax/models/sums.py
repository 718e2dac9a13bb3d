"""Means over pixels, and values that are spread over pixels, whose gradient is such a sum.

XLA:CPU computes a sum over pixels on one core, a value at a time. As a matrix product with ones it
is 4 to 17 times as fast (experiments/throughput/NOTES.md).
"""

import functools

import jax
import jax.numpy as jnp

from sr_jax.models.convolution import tuned_for_cpu


def pixel_means(x: jax.Array) -> jax.Array:
    """The mean over each image: (N, H, W, C) -> (N, C)."""
    return _means(x) if _as_products(x) else x.mean((1, 2))


def channel_means(x: jax.Array) -> jax.Array:
    """The mean over all images: (N, H, W, C) -> (C,)."""
    return pixel_means(x.reshape(1, -1, *x.shape[2:]))[0]


def spread(values: jax.Array, x: jax.Array) -> jax.Array:
    """Values for each channel, (C,) or (N, C), in the shape and dtype of `x`, (N, H, W, C)."""
    values = values.astype(x.dtype).reshape(-1, values.shape[-1])
    return (_spread if _as_products(x) else _broadcast)(values, x.shape)


def _as_products(x: jax.Array) -> bool:
    # Products of bfloat16 would round the sums to it.
    return tuned_for_cpu() and jnp.finfo(x.dtype).bits >= 32


def _sums(x: jax.Array) -> jax.Array:
    x = x.reshape(len(x), -1, x.shape[-1])
    return jnp.einsum("np,npc->nc", jnp.ones(x.shape[:2], x.dtype), x)


def _broadcast(values: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.broadcast_to(values[:, None, None, :], shape)


@jax.custom_vjp
def _means(x: jax.Array) -> jax.Array:
    return _sums(x) / (x.shape[1] * x.shape[2])


def _means_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _means(x), x


def _means_backward(x: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    return (_broadcast(cotangent / (x.shape[1] * x.shape[2]), x.shape),)


_means.defvjp(_means_forward, _means_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _spread(values: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return _broadcast(values, shape)


def _spread_forward(values: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, int]:
    return _spread(values, shape), len(values)


def _spread_backward(shape: tuple[int, ...], images: int, cotangent: jax.Array) -> tuple[jax.Array]:
    return (_sums(cotangent.reshape(images, -1, *shape[2:])),)


_spread.defvjp(_spread_forward, _spread_backward)
