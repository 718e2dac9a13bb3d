"""SAN: the official code's gradients, its second-order and non-local attention, its sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import filled, random_variables

from experiments.goldens import relative_error
from sr_jax.models import create_model, forward, san

SMALL = {"n_resgroups": 2, "n_resblocks": 1, "n_feats": 8, "reduction": 2}


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_scales_and_odd_sizes(scale):
    model = create_model("san", scale=scale, **SMALL)
    x = jnp.zeros((2, 5, 7, 3))
    y = jax.eval_shape(functools.partial(forward, model, scale=scale), filled(model), x)
    assert y.shape == (2, 5 * scale, 7 * scale, 3)


def test_attention_is_over_one_image_in_blocks_of_any_size():
    x = jax.random.uniform(jax.random.key(1), (2, 13, 10, 3))
    model = create_model("san", **SMALL)
    variables = random_variables(model, 0.2)
    y = forward(model, variables, x)
    other = forward(model, variables, x.at[0].multiply(0.5))
    assert np.abs(other[0] - y[0]).max() > 1e-3
    np.testing.assert_array_equal(other[1], y[1])
    blocked = forward(create_model("san", max_scores=50, **SMALL), variables, x)
    np.testing.assert_allclose(blocked, y, atol=1e-5)


def test_refuses_images_whose_quadrants_have_no_key():
    model = create_model("san", **SMALL)
    variables = random_variables(model, 0.2)
    assert np.isfinite(forward(model, variables, jnp.ones((1, 4, 4, 3)))).all()
    with pytest.raises(ValueError, match=r"at least 4x4 pixels; given 3x8"):
        forward(model, variables, jnp.zeros((1, 3, 8, 3)))


def test_square_root_is_five_newton_schulz_steps():
    """The coupled iteration, written out as in the fact sheet, section 8; float64."""
    with jax.enable_x64(True):
        samples = np.random.default_rng(0).normal(size=(2, 40, 6))
        matrices = np.einsum("nmc,nmd->ncd", samples, samples)
        for matrix, root in zip(matrices, san.matrix_square_root(matrices), strict=True):
            three, trace = 3 * np.eye(6), np.trace(matrix)
            y, z = matrix / trace, np.eye(6)
            for _ in range(5):
                step = 0.5 * (three - z @ y)
                y, z = y @ step, step @ z
            np.testing.assert_allclose(root, y * np.sqrt(trace), rtol=1e-12, atol=1e-12)
            exact = jax.jit(san.matrix_square_root, static_argnums=1)(matrix, 40)
            np.testing.assert_allclose(exact @ exact, matrix, rtol=1e-8)
            assert relative_error(root, exact) > 1e-4  # five steps are not converged


def test_second_order_attention_pools_the_biased_covariance():
    """x (I/M - 11'/M^2) x', as the official code has it; float64."""
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(2.0, 1.0, (1, 5, 6, 4))
        module = san.SecondOrderChannelAttention(2)
        variables = jax.jit(module.init)(jax.random.key(0), x)
        samples, count = x.reshape(30, 4).T, 30
        centring = np.eye(count) / count - np.ones((count, count)) / count**2
        root = np.asarray(san.matrix_square_root(samples @ centring @ samples.T))
        first, second = (variables["params"][f"conv_{i}"] for i in range(2))
        hidden = np.maximum(root.mean(1) @ first["kernel"][0, 0] + first["bias"], 0)
        weight = 1 / (1 + np.exp(-(hidden @ second["kernel"][0, 0] + second["bias"])))
        np.testing.assert_allclose(jax.jit(module.apply)(variables, x), x * weight, rtol=1e-10)


def test_second_order_attention_looks_at_the_centre_of_large_images(monkeypatch):
    monkeypatch.setattr(san.SecondOrderChannelAttention, "largest_side", 5)
    x = np.random.default_rng(0).normal(size=(1, 8, 4, 4)).astype(np.float32)
    module = san.SecondOrderChannelAttention(2)
    variables, apply = jax.jit(module.init)(jax.random.key(0), x), jax.jit(module.apply)
    changed = x.copy()
    changed[:, [0, 6, 7]] += 1  # (8 - 5) // 2 = 1: rows 1 to 5 count
    factor, same = (apply(variables, a) / a for a in (x, changed))
    np.testing.assert_allclose(same[0, 3, 2], factor[0, 3, 2], rtol=1e-5)
    changed[:, 5] *= 2
    other = apply(variables, changed) / changed
    assert np.abs(other[0, 3, 2] - factor[0, 3, 2]).max() > 1e-4


def test_constant_features_give_finite_outputs_and_gradients():
    """The official code divides 0 by 0 there."""
    module = san.SecondOrderChannelAttention(2)
    x = jnp.ones((1, 4, 4, 4))
    variables = jax.jit(module.init)(jax.random.key(0), x)
    y, pullback = jax.vjp(jax.jit(functools.partial(module.apply, variables)), x)
    assert np.isfinite(y).all()
    assert np.isfinite(pullback(y)[0]).all()


def test_non_local_block_works_on_quadrants_and_starts_as_the_identity():
    x = jax.random.normal(jax.random.key(0), (1, 7, 6, 8))
    module = san.RegionNonLocal(10**6)
    variables, apply = jax.jit(module.init)(jax.random.key(1), x), jax.jit(module.apply)
    np.testing.assert_array_equal(apply(variables, x), x)
    params = variables["params"]["non_local"]
    params = {**params, "W": jax.tree.map(jnp.ones_like, params["W"])}
    variables = {"params": {**variables["params"], "non_local": params}}
    change = apply(variables, x.at[:, 3:, :3].add(1.0)) - apply(variables, x)
    assert (np.abs(change[:, 3:, :3]).max((0, 3)) > 0).all()  # the lower ones have 4 rows
    np.testing.assert_array_equal(change[:, :3], 0)
    np.testing.assert_array_equal(change[:, :, 3:], 0)


def test_dead_parameters_have_no_gradient_and_others_have_one():
    model = create_model("san", **SMALL)
    variables = random_variables(model, 0.2)
    x = jax.random.uniform(jax.random.key(1), (1, 9, 8, 3))

    def loss(params):
        return jnp.square(model.apply({**variables, "params": params}, x)).sum()

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    dead = {
        jax.tree_util.keystr(path, simple=True, separator="/")
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradients)
        if not np.abs(leaf).max() > 0
    }
    soca = {f"non_local/soca/conv_{i}/{leaf}" for i in range(2) for leaf in ("kernel", "bias")}
    expected = {"conv_last/kernel", "conv_last/bias", "RG/gamma", *soca}
    # phi's bias adds the same to all scores of a query: its gradient is rounding.
    assert dead - {"non_local/non_local/phi/bias"} == expected
