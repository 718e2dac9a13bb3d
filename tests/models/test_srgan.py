"""SRGAN's discriminator: its convolution and its fixed size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sr_jax.models import check_call, create_model, describe_model, forward
from sr_jax.ops.conv import halving_conv2d
from sr_jax.weights import variable_shapes


@pytest.mark.parametrize("size", [(8, 6), (7, 8), (5, 9)])
def test_halving_convolution_equals_autodiff(size):
    """float64; both sum the same products in another order: 1e-12."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, kernel = rng.normal(size=(2, *size, 3)), rng.normal(size=(3, 3, 3, 4))

        def stock(x, kernel):
            return lax.conv_general_dilated(
                x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
            )

        output, pullback = jax.vjp(stock, x, kernel)
        ours, our_pullback = jax.vjp(halving_conv2d, x, kernel)
        cotangent = rng.normal(size=output.shape)
        for a, b in zip(
            (output, *pullback(cotangent)), (ours, *our_pullback(cotangent)), strict=True
        ):
            np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-12)


def filled(model):
    """All variables 0.1: enough for shapes, and quicker than drawing them."""
    return jax.tree.map(lambda s: jnp.full(s.shape, 0.1, s.dtype), variable_shapes(model))


def test_training_updates_the_statistics():
    model = create_model("srgan_discriminator", image_size=16, n_feats=2)
    x = jax.random.uniform(jax.random.key(1), (3, 16, 16, 3), jnp.bfloat16)
    variables = filled(model)
    logits, updates = jax.jit(lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]))(
        variables, x
    )
    assert logits.shape == (3, 1)
    assert logits.dtype == jnp.bfloat16
    before, after = variables["batch_stats"], updates["batch_stats"]
    assert jax.tree.map(jnp.shape, before) == jax.tree.map(jnp.shape, after)
    assert all(np.any(before[name]["var"] != after[name]["var"]) for name in before)


def test_size_is_fixed():
    model = create_model("srgan_discriminator", image_size=32, n_feats=2)
    shapes = variable_shapes(model)["params"]
    assert shapes["dense_0"]["kernel"].shape == (16 * 2 * 2, 1024)
    variables = filled(model)
    with pytest.raises(ValueError, match=r"takes images of 32x32 pixels.*given 32x24"):
        forward(model, variables, jnp.zeros((1, 32, 24, 3)))
    with pytest.raises(ValueError, match=r"given 48x48.*image_size=48"):
        model.apply(variables, jnp.zeros((1, 48, 48, 3)))
    with pytest.raises(ValueError, match="no scale"):
        check_call(model, (1, 32, 32, 3), np.float32, 4)


def test_generator_is_srresnet_x4():
    generator = create_model("srgan_generator")
    assert generator == create_model("srresnet", scale=4)
    assert describe_model(generator)[0] == "srresnet"
