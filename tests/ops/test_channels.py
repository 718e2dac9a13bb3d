"""Sums over pixels as products: equal to reductions, and used where they are faster."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sr_jax.ops.channels import add_bias, channel_means, global_average_pool, scale_channels
from sr_jax.ops.target import Target, traced_for

SHAPE = (2, 5, 7, 3)
IMAGES = np.random.default_rng(3).normal(size=SHAPE)
FACTORS = np.random.default_rng(2).normal(size=SHAPE[::3])
CASES = {
    "global_average_pool": (global_average_pool, lambda x: x.mean((1, 2)), SHAPE),
    "channel_means": (channel_means, lambda x: x.mean((0, 1, 2)), SHAPE),
    "add_bias": (
        lambda bias: add_bias(jnp.asarray(IMAGES, bias.dtype), bias),
        lambda bias: IMAGES + bias,
        SHAPE[-1:],
    ),
    "scaled": (lambda x: scale_channels(x, FACTORS), lambda x: x * FACTORS[:, None, None], SHAPE),
    "scaled by": (
        lambda factors: scale_channels(jnp.asarray(IMAGES, factors.dtype), factors),
        lambda factors: IMAGES * factors[:, None, None],
        FACTORS.shape,
    ),
    "scaled by one": (
        lambda factors: scale_channels(jnp.asarray(IMAGES, factors.dtype), factors),
        lambda factors: IMAGES * factors,
        SHAPE[-1:],
    ),
}


def _program(function, shape, dtype="float32"):
    x = jnp.zeros(shape, dtype)
    return str(jax.make_jaxpr(lambda x: jax.vjp(function, x)[1](function(x)))(x))


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_equal_reductions(case):
    """float64: the same sums in another order, 1e-14."""
    ours, plain, shape = CASES[case]
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=shape)
        expected, pullback = jax.vjp(plain, x)
        result, our_pullback = jax.vjp(ours, x)
        np.testing.assert_allclose(result, expected, rtol=1e-14, atol=1e-14)
        cotangent = np.random.default_rng(1).normal(size=expected.shape)
        np.testing.assert_allclose(
            our_pullback(cotangent)[0], pullback(cotangent)[0], rtol=1e-14, atol=1e-14
        )


@pytest.mark.parametrize("case", sorted(set(CASES) - {"scaled"}))  # its gradient is a product
def test_no_reduction_is_left(case):
    if jax.default_backend() != "cpu":
        pytest.skip("on a CPU only")
    function, _, shape = CASES[case]
    assert "reduce_sum" not in _program(function, shape)
    with traced_for(Target("any")):
        assert "reduce_sum" in _program(function, shape)
    assert "reduce_sum" in _program(function, shape, "bfloat16")
    assert "reduce_sum" not in _program(function, shape)
