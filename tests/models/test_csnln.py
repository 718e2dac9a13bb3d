"""CSNLN: the official code's gradients, its scaled convolutions, its scales, sizes and memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sr_jax.models import create_model, csnln, forward
from sr_jax.ops import conv
from sr_jax.weights import variable_shapes


@pytest.mark.parametrize(("size", "stride", "padding"), [(6, 2, 2), (9, 3, 3), (8, 4, 2)])
def test_scaled_convolutions_equal_the_stock_ones(size, stride, padding):
    """float64, forward and gradient; the same sums in another order."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        kernel = rng.normal(size=(size, size, 3, 5))
        layout = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}

        def strided(x, kernel):
            borders = [(padding, padding)] * 2
            return lax.conv_general_dilated(x, kernel, (stride, stride), borders, **layout)

        def transposed(x, kernel):  # fact sheet, section 0.5
            borders = [(size - 1 - padding, size - 1 - padding)] * 2
            return lax.conv_general_dilated(
                x, kernel[::-1, ::-1], (1, 1), borders, lhs_dilation=(stride, stride), **layout
            )

        large, small = rng.normal(size=(2, 12, 24, 3)), rng.normal(size=(2, 5, 4, 3))
        for stock, ours, x in [
            (strided, conv.strided_conv2d, large),
            (transposed, conv.transposed_conv2d, small),
        ]:
            expected, pullback = jax.vjp(stock, x, kernel)
            actual, our_pullback = jax.vjp(
                lambda x, k, ours=ours: ours(x, k, stride, padding), x, kernel
            )
            assert actual.shape == expected.shape
            cotangent = rng.normal(size=expected.shape)
            for a, b in zip(
                (actual, *our_pullback(cotangent)), (expected, *pullback(cotangent)), strict=True
            ):
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


SMALL = {"n_feats": 8, "depth": 2}


def random_variables(model):
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda s: jnp.asarray(rng.normal(scale=0.1, size=s.shape), s.dtype), variable_shapes(model)
    )


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_scales_and_batches(scale):
    model = create_model("csnln", scale=scale, **SMALL)
    variables = random_variables(model)
    x = jax.random.uniform(jax.random.key(1), (2, 12, 18, 3))
    y = forward(model, variables, x)
    assert y.shape == (2, 12 * scale, 18 * scale, 3)
    # Attention is over one image, not over the batch.
    np.testing.assert_allclose(y[1:], forward(model, variables, x[1:]), atol=1e-5)


@pytest.mark.parametrize(("scale", "divisor"), [(2, 2), (3, 3), (4, 2)])
def test_refuses_sides_that_it_cannot_divide(scale, divisor):
    model = create_model("csnln", scale=scale, **SMALL)
    variables = random_variables(model)
    assert (model.size_divisor, model.minimum_size) == (divisor, divisor)
    smallest = jnp.zeros((1, divisor, divisor, 3))
    y = jax.eval_shape(model.apply, variables, smallest)
    assert y.shape == (1, scale * divisor, scale * divisor, 3)
    for size in ((6, 7), (7, 6)):
        with pytest.raises(ValueError, match=f"divisible by {divisor}; given {size[0]}x{size[1]}"):
            forward(model, variables, jnp.zeros((1, *size, 3)))


def test_block_sizes_change_nothing():
    x = jax.random.uniform(jax.random.key(1), (2, 10, 14, 3))
    variables = random_variables(create_model("csnln", **SMALL))
    whole, blocked = (
        forward(create_model("csnln", max_scores=count, tile=tile, **SMALL), variables, x)
        for count, tile in ((10**6, 16), (500, 4))
    )
    np.testing.assert_allclose(blocked, whole, atol=1e-5)


def test_a_constant_image_has_finite_gradients():
    model = create_model("csnln", **SMALL)
    variables = random_variables(model)

    def loss(params, x):
        return model.apply({**variables, "params": params}, x).sum()

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables["params"], jnp.ones((1, 6, 6, 3)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_transposed_convolutions_take_their_outputs_for_the_fan_in():
    kernel_up, kernel_down = (
        csnln.Rescale(32, 2, up=up).init(jax.random.key(0), jnp.zeros((1, 4, 4, 8)))["params"][
            "conv"
        ]["kernel"]
        for up in (True, False)
    )
    assert kernel_up.shape == kernel_down.shape == (6, 6, 8, 32)
    assert np.abs(kernel_up).max() == pytest.approx(1 / np.sqrt(36 * 32), rel=1e-2)
    assert np.abs(kernel_down).max() == pytest.approx(1 / np.sqrt(36 * 8), rel=1e-2)


def test_the_program_does_not_grow_with_depth():
    """One cell in a loop: twelve recurrences are as long a program as two."""

    def length(depth: int) -> int:
        model = create_model("csnln", n_feats=8, depth=depth)

        def loss(variables):
            return model.apply(variables, jnp.zeros((1, 8, 8, 3))).sum()

        return len(jax.jit(jax.grad(loss, allow_int=True)).lower(variable_shapes(model)).as_text())

    assert length(12) < 1.01 * length(2)


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
