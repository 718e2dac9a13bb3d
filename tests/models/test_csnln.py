"""CSNLN: its scales, sizes and memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import filled, random_variables

from sr_jax.models import create_model, csnln, forward
from sr_jax.weights import variable_shapes

SMALL = {"n_feats": 8, "depth": 2}


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_scales(scale):
    model = create_model("csnln", scale=scale, **SMALL)
    x = jnp.zeros((2, 12, 18, 3))
    y = jax.eval_shape(functools.partial(forward, model, scale=scale), filled(model), x)
    assert y.shape == (2, 12 * scale, 18 * scale, 3)


def test_attention_is_over_one_image_in_blocks_of_any_size():
    x = jax.random.uniform(jax.random.key(1), (2, 10, 14, 3))
    model = create_model("csnln", **SMALL)
    variables = random_variables(model, 0.1)
    y = forward(model, variables, x)
    other = forward(model, variables, x.at[0].multiply(0.5))
    assert np.abs(other[0] - y[0]).max() > 1e-3
    np.testing.assert_array_equal(other[1], y[1])
    blocked = forward(create_model("csnln", max_scores=500, tile=4, **SMALL), variables, x)
    np.testing.assert_allclose(blocked, y, atol=1e-5)


@pytest.mark.parametrize(("scale", "divisor"), [(2, 2), (3, 3), (4, 2)])
def test_refuses_sides_that_it_cannot_divide(scale, divisor):
    model = create_model("csnln", scale=scale, **SMALL)
    variables = filled(model)
    assert (model.size_divisor, model.minimum_size) == (divisor, divisor)
    smallest = jnp.zeros((1, divisor, divisor, 3))
    y = jax.eval_shape(model.apply, variables, smallest)
    assert y.shape == (1, scale * divisor, scale * divisor, 3)
    for size in ((6, 7), (7, 6)):
        with pytest.raises(ValueError, match=f"divisible by {divisor}; given {size[0]}x{size[1]}"):
            forward(model, variables, jnp.zeros((1, *size, 3)))


def test_a_constant_image_has_finite_gradients():
    model = create_model("csnln", **SMALL)
    variables = random_variables(model, 0.1)

    def loss(params, x):
        return model.apply({**variables, "params": params}, x).sum()

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables["params"], jnp.ones((1, 6, 6, 3)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_transposed_convolutions_take_their_outputs_for_the_fan_in():
    kernel_up, kernel_down = (
        jax.jit(csnln.Rescale(32, 2, up=up).init)(jax.random.key(0), jnp.zeros((1, 4, 4, 8)))[
            "params"
        ]["conv"]["kernel"]
        for up in (True, False)
    )
    assert kernel_up.shape == kernel_down.shape == (6, 6, 8, 32)
    assert np.abs(kernel_up).max() == pytest.approx(1 / np.sqrt(36 * 32), rel=1e-2)
    assert np.abs(kernel_down).max() == pytest.approx(1 / np.sqrt(36 * 8), rel=1e-2)


def test_memory_of_large_images():
    """Dense in-scale scores alone would take 1 GB at 128x128 and 17 GB at 256x256."""

    def temporaries(side: int) -> float:
        model = create_model("csnln", scale=2)
        images = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
        compiled = jax.jit(model.apply).lower(variable_shapes(model), images).compile()
        return compiled.memory_analysis().temp_size_in_bytes / 1e6

    at_128, at_256 = temporaries(128), temporaries(256)
    assert at_128 < 300
    assert at_256 < 5 * at_128  # with the pixels, of which there are four times as many
