"""Means over pixels; biases and factors of channels, whose gradients are sums over pixels.

XLA:CPU computes a sum over pixels on one core, a value at a time. As a matrix product with ones it
is 4 to 17 times as fast (experiments/throughput/NOTES.md). Sums of bfloat16 are kept in float32
until they are complete: in bfloat16 a sum stops growing after some hundred terms.
"""

import functools

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from sr_jax.ops.products import exact_matmul
from sr_jax.ops.rows import flatten
from sr_jax.ops.target import for_one_cpu


def global_average_pool(x: jax.Array) -> jax.Array:
    """The mean over each image: (N, H, W, C) -> (N, C)."""
    return _means(x.shape, x) if _as_products(x.dtype) else x.mean((1, 2))


def channel_means(x: jax.Array) -> jax.Array:
    """The mean over all images: (N, H, W, C) -> (C,)."""
    return global_average_pool(x.reshape(1, -1, *x.shape[2:]))[0]


def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """(N, H, W, C) plus a value for each channel, (C,)."""
    bias = bias.astype(x.dtype)
    return _add_bias(x, bias) if _has_own_gradient(x.dtype) else x + bias


def covariance(x: jax.Array) -> jax.Array:
    """The covariance of the channels over each image's pixels: (N, H, W, C) -> (N, C, C)."""
    samples = flatten(x)
    # x (I / M - 1 1^T / M^2) x^T as a product of centred samples, never M x M.
    samples = samples - global_average_pool(samples[:, None])[:, None]
    return exact_matmul(samples.swapaxes(1, 2), samples) / samples.shape[1]


def scale_channels(x: jax.Array, factors: jax.Array) -> jax.Array:
    """(N, H, W, C) times a factor for each channel, (C,) or (N, C)."""
    factors = factors.astype(x.dtype).reshape(-1, factors.shape[-1])
    return (_scale if _has_own_gradient(x.dtype) else _multiply)(x, factors)


def _as_products(dtype: DTypeLike) -> bool:
    # Products of bfloat16 would round the sums to it.
    return for_one_cpu() and not _is_short(dtype)


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


# Little is kept for the backward pass: in a loop all of it is copied.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _means(shape: tuple[int, ...], x: jax.Array) -> jax.Array:
    return _sums(x) / (shape[1] * shape[2])


def _means_forward(shape: tuple[int, ...], x: jax.Array) -> tuple[jax.Array, None]:
    return _means(shape, x), None


def _means_backward(shape: tuple[int, ...], _: None, cotangent: jax.Array) -> tuple[jax.Array]:
    return (_broadcast(cotangent / (shape[1] * shape[2]), shape),)


_means.defvjp(_means_forward, _means_backward)


@jax.custom_vjp
def _add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    return x + bias


def _add_bias_forward(x: jax.Array, bias: jax.Array) -> tuple[jax.Array, None]:
    return _add_bias(x, bias), None


def _add_bias_backward(_: None, cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    return cotangent, _sums(cotangent.reshape(1, -1, *cotangent.shape[2:]))[0]


_add_bias.defvjp(_add_bias_forward, _add_bias_backward)


_scale = jax.custom_vjp(_multiply)


def _scale_forward(
    x: jax.Array, factors: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _multiply(x, factors), (x, factors)


def _scale_backward(
    saved: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, factors = saved
    products = (cotangent * x).reshape(len(factors), -1, *x.shape[2:])
    return _multiply(cotangent, factors), _sums(products)


_scale.defvjp(_scale_forward, _scale_backward)
