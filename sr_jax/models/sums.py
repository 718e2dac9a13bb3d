"""Means over pixels, and values that are spread over pixels, whose gradients are sums.

XLA:CPU computes a sum over pixels on one core, a value at a time. As a matrix product with ones it
is 4 to 17 times as fast (experiments/throughput/NOTES.md). Sums of bfloat16 are kept in float32
until they are complete: in bfloat16 a sum stops to grow after some hundred terms.
"""

import functools

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from sr_jax.models.convolution import tuned_for_cpu


def pixel_means(x: jax.Array) -> jax.Array:
    """The mean over each image: (N, H, W, C) -> (N, C)."""
    return _means(x.shape, x) if _as_products(x.dtype) else x.mean((1, 2))


def channel_means(x: jax.Array) -> jax.Array:
    """The mean over all images: (N, H, W, C) -> (C,)."""
    return pixel_means(x.reshape(1, -1, *x.shape[2:]))[0]


def spread(values: jax.Array, x: jax.Array) -> jax.Array:
    """Values for each channel, (C,) or (N, C), in the shape and dtype of `x`, (N, H, W, C)."""
    values = values.astype(x.dtype).reshape(-1, values.shape[-1])
    if _has_own_gradient(x.dtype):
        return _spread(x.shape, len(values), values)
    return _broadcast(values, x.shape)


def scaled(x: jax.Array, factors: jax.Array) -> jax.Array:
    """(N, H, W, C) times a factor for each channel, (C,) or (N, C)."""
    factors = factors.astype(x.dtype).reshape(-1, factors.shape[-1])
    return (_scaled if _has_own_gradient(x.dtype) else _multiply)(x, factors)


def _as_products(dtype: DTypeLike) -> bool:
    # Products of bfloat16 would round the sums to it.
    return tuned_for_cpu() and not _is_short(dtype)


def _is_short(dtype: DTypeLike) -> bool:
    return jnp.finfo(dtype).bits < 32


def _has_own_gradient(dtype: DTypeLike) -> bool:
    return _as_products(dtype) or _is_short(dtype)


def _sums(x: jax.Array) -> jax.Array:
    x = x.reshape(len(x), -1, x.shape[-1])
    if _as_products(x.dtype):
        return jnp.einsum("np,npc->nc", jnp.ones(x.shape[:2], x.dtype), x)
    return x.sum(axis=1)  # which adds up bfloat16 in float32


def _broadcast(values: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.broadcast_to(values[:, None, None, :], shape)


def _multiply(x: jax.Array, factors: jax.Array) -> jax.Array:
    return x * _broadcast(factors, x.shape)


# What a backward pass needs is kept small: in a loop all of it is copied.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _means(shape: tuple[int, ...], x: jax.Array) -> jax.Array:
    return _sums(x) / (shape[1] * shape[2])


def _means_forward(shape: tuple[int, ...], x: jax.Array) -> tuple[jax.Array, None]:
    return _means(shape, x), None


def _means_backward(shape: tuple[int, ...], _: None, cotangent: jax.Array) -> tuple[jax.Array]:
    return (_broadcast(cotangent / (shape[1] * shape[2]), shape),)


_means.defvjp(_means_forward, _means_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _spread(shape: tuple[int, ...], images: int, values: jax.Array) -> jax.Array:
    return _broadcast(values, shape)


def _spread_forward(
    shape: tuple[int, ...], images: int, values: jax.Array
) -> tuple[jax.Array, None]:
    return _spread(shape, images, values), None


def _spread_backward(
    shape: tuple[int, ...], images: int, _: None, cotangent: jax.Array
) -> tuple[jax.Array]:
    return (_sums(cotangent.reshape(images, -1, *shape[2:])),)


_spread.defvjp(_spread_forward, _spread_backward)


_scaled = jax.custom_vjp(_multiply)


def _scaled_forward(
    x: jax.Array, factors: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _multiply(x, factors), (x, factors)


def _scaled_backward(
    saved: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, factors = saved
    products = (cotangent * x).reshape(len(factors), -1, *x.shape[2:])
    return _multiply(cotangent, factors), _sums(products)


_scaled.defvjp(_scaled_forward, _scaled_backward)
