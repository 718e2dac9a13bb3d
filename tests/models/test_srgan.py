"""SRGAN's discriminator: its statistics and its fixed size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import filled

from sr_jax.models import check_call, create_model, describe_model, forward
from sr_jax.weights import variable_shapes


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
