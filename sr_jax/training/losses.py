"""Pixel losses: functions of a prediction and a target of one shape, to a scalar."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

PixelLoss = Callable[[jax.Array, jax.Array], jax.Array]

# What a training step takes: a function of (prediction, target) in [0, 1] to the loss in the
# recipe's units. Arrays that it needs (the weights of VGG) are leaves of the Partial, so that
# `jax.jit` takes them as arguments and does not compile them in.
Loss = Partial


def l1(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean absolute error over all pixels and channels (EDSR section 3.1)."""
    return jnp.mean(jnp.abs(prediction - target))


def mse(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared error over all pixels and channels (SRGAN equation 4)."""
    return jnp.mean(jnp.square(prediction - target))


def charbonnier(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean of sqrt(error**2 + 0.001**2), a smooth L1 (Lai et al., CVPR 2017, section 3.3)."""
    return jnp.mean(jnp.sqrt(jnp.square(prediction - target) + 1e-6))


def sum_of_squares(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Squared error summed over an image and averaged over the batch (SRCNN, TPAMI equation 4)."""
    return jnp.sum(jnp.square(prediction - target)) / prediction.shape[0]


def half_sum_of_squares(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Half of `sum_of_squares` (VDSR section 3.2)."""
    return 0.5 * sum_of_squares(prediction, target)


LOSSES: dict[str, PixelLoss] = {
    "l1": l1,
    "mse": mse,
    "charbonnier": charbonnier,
    "sum_of_squares": sum_of_squares,
    "half_sum_of_squares": half_sum_of_squares,
}


def get_loss(name: str, scale: float = 1.0) -> Loss:
    """A pixel loss by name.

    Args:
        name: one of `LOSSES`.
        scale: factor on predictions and targets, which puts the loss in the recipe's units.

    Raises:
        ValueError: unknown name; the known ones are listed.
    """
    if name not in LOSSES:
        raise ValueError(f"loss.name is {name!r}; known are {', '.join(LOSSES)}")
    return Partial(functools.partial(_scaled, LOSSES[name], scale))


def _scaled(loss: PixelLoss, scale: float, prediction: jax.Array, target: jax.Array) -> jax.Array:
    return loss(prediction * scale, target * scale)


def clipped_mse(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared error of a batch in [0, 1], clipped as an image would be."""
    return mse(jnp.clip(prediction, 0, 1), target)


def decibels(error: jax.Array) -> jax.Array:
    """Peak signal-to-noise ratio in dB of a mean squared error of values in [0, 1]."""
    return -10 * jnp.log10(error)
