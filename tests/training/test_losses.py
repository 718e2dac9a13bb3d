"""Losses against hand-computed cases (float32, exact to rounding)."""

import jax.numpy as jnp
import numpy as np
import pytest

from sr_jax.training import losses

PREDICTION = jnp.asarray([[[[0.0], [1.0]]], [[[2.0], [3.0]]]])  # (2, 1, 2, 1)
TARGET = jnp.asarray([[[[0.0], [3.0]]], [[[1.0], [3.0]]]])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("l1", 3 / 4),
        ("mse", 5 / 4),
        ("sum_of_squares", 5 / 2),
        ("half_sum_of_squares", 0.5 * 5 / 2),
        ("charbonnier", (2 * 1e-3 + np.sqrt(4 + 1e-6) + np.sqrt(1 + 1e-6)) / 4),
    ],
)
def test_value(name, value):
    assert losses.get_loss(name)(PREDICTION, TARGET) == pytest.approx(value, rel=1e-6)


def test_unknown_loss():
    with pytest.raises(ValueError, match=r"loss.name is 'l2'; known are l1, mse"):
        losses.get_loss("l2")


def test_psnr_clips_the_prediction():
    target = jnp.ones((1, 2, 2, 3))
    assert losses.decibels(losses.clipped_mse(target * 0.9, target)) == pytest.approx(
        20.0, rel=1e-5
    )
    assert losses.decibels(losses.clipped_mse(target.at[0, 0, 0].set(5.0) * 0.9, target)) > 20.0
