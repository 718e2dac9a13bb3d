"""Means over pixels, biases and factors of channels equal the plain formulae."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same_gradients

from sr_jax.ops.channels import add_bias, channel_means, global_average_pool, scale_channels
from sr_jax.ops.target import Target, traced_for


def ours(x, bias, factors, factor):
    return (
        global_average_pool(x),
        channel_means(x),
        add_bias(x, bias),
        scale_channels(x, factors),
        scale_channels(x, factor),
    )


def plain(x, bias, factors, factor):
    return x.mean((1, 2)), x.mean((0, 1, 2)), x + bias, x * factors[:, None, None], x * factor


@pytest.mark.parametrize("form", ["this device's", "any device's"])
def test_values_and_gradients_equal_the_formulae(form):
    """float64: the same sums in another order, 1e-14."""
    rng = np.random.default_rng(0)
    operands = [rng.normal(size=shape) for shape in ((2, 5, 7, 3), (3,), (2, 3), (3,))]
    target = Target("any") if form == "any device's" else None
    with jax.enable_x64(True), traced_for(target) if target else contextlib.nullcontext():
        assert_same_gradients(ours, plain, *operands, tolerance=1e-14)


def test_bfloat16_is_summed_in_float32():
    """A sum of ones that is kept in bfloat16 stops at 256."""
    x, bias = jnp.ones((1, 64, 64, 2), jnp.bfloat16), jnp.ones(2, jnp.bfloat16)
    np.testing.assert_array_equal(global_average_pool(x), np.ones((1, 2)))
    np.testing.assert_array_equal(channel_means(x), np.ones(2))
    for function in (add_bias, scale_channels):
        _, pullback = jax.vjp(function, x, bias)
        np.testing.assert_array_equal(pullback(x)[1], np.full(2, 64 * 64))
