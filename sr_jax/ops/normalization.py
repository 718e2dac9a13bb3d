"""Batch normalisation over all devices that share a batch."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from sr_jax.ops.channels import channel_means
from sr_jax.ops.devices import gather_over_devices, mean_over_devices, sharing_devices

Normalised = tuple[jax.Array, jax.Array, jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def normalise_batch(epsilon: float, x: jax.Array, scale: jax.Array, bias: jax.Array) -> Normalised:
    """(x - mean) / sqrt(var + epsilon) * scale + bias, the mean and the biased variance.

    Statistics are those of the whole batch, over all devices that share it, and have the dtype of
    `scale`. They have no gradient of their own.
    """
    return _normalise_batch_forward(epsilon, x, scale, bias)[0]


def _normalise_batch_forward(
    epsilon: float, x: jax.Array, scale: jax.Array, bias: jax.Array
) -> tuple[Normalised, tuple[jax.Array, ...]]:
    y = x.astype(scale.dtype)
    mean = channel_means(y)
    var = channel_means(jnp.square(y - mean))
    if sharing_devices() > 1:  # one exchange: the whole's variance from those of the parts
        means, variances = gather_over_devices((mean, var))
        mean = means.mean(0)
        var = (variances + jnp.square(means - mean)).mean(0)
    inverse = lax.rsqrt(var + epsilon)
    result = ((y - mean) * (scale * inverse) + bias).astype(x.dtype)
    return (result, mean, var), (x, mean, inverse, scale)


def _normalise_batch_backward(
    epsilon: float, saved: tuple[jax.Array, ...], cotangents: Normalised
) -> tuple[jax.Array, jax.Array, jax.Array]:
    # Ioffe and Szegedy, ICML 2015, section 3, with both sums in one pass and one exchange.
    x, mean, inverse, scale = saved
    cotangent = cotangents[0].astype(scale.dtype)
    normal = (x.astype(scale.dtype) - mean) * inverse
    both = channel_means(cotangent), channel_means(cotangent * normal)
    first, second = mean_over_devices(both)
    grad_x = (cotangent - first - normal * second) * (scale * inverse)
    count = x.size // x.shape[-1]
    return grad_x.astype(x.dtype), both[1] * count, both[0] * count


normalise_batch.defvjp(_normalise_batch_forward, _normalise_batch_backward)
