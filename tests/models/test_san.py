"""SAN: the official code's gradients, its second-order and non-local attention, its sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.goldens import relative_error
from sr_jax.models import create_model, forward, san
from sr_jax.weights import variable_shapes

SMALL = {"n_resgroups": 2, "n_resblocks": 2, "n_feats": 8, "reduction": 2}


def random_variables(model):
    """Values under which every live parameter matters, the zero-initialised ones too."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda s: jnp.asarray(rng.normal(scale=0.2, size=s.shape), s.dtype), variable_shapes(model)
    )


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_scales_odd_sizes_and_batches(scale):
    model = create_model("san", scale=scale, **SMALL)
    variables = random_variables(model)
    x = jax.random.uniform(jax.random.key(1), (2, 5, 7, 3))
    y = forward(model, variables, x, scale=scale)
    assert y.shape == (2, 5 * scale, 7 * scale, 3)
    # Attention is over one image, not over the batch.
    alone = forward(model, variables, x[1:])
    np.testing.assert_allclose(y[1:], alone, atol=1e-5)


def test_refuses_images_whose_quadrants_have_no_key():
    model = create_model("san", **SMALL)
    variables = random_variables(model)
    assert np.isfinite(forward(model, variables, jnp.ones((1, 4, 4, 3)))).all()
    with pytest.raises(ValueError, match=r"at least 4x4 pixels; given 3x8"):
        forward(model, variables, jnp.zeros((1, 3, 8, 3)))


def test_block_size_changes_nothing():
    x = jax.random.uniform(jax.random.key(1), (1, 13, 10, 3))
    variables = random_variables(create_model("san", **SMALL))
    whole, blocked = (
        forward(create_model("san", max_scores=count, **SMALL), variables, x)
        for count in (10**6, 50)
    )
    np.testing.assert_allclose(blocked, whole, atol=1e-5)


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
            exact = san.matrix_square_root(jnp.asarray(matrix), 40)
            np.testing.assert_allclose(exact @ exact, matrix, rtol=1e-8)
            assert relative_error(root, exact) > 1e-4  # five steps are not converged


def test_second_order_attention_pools_the_biased_covariance():
    """x (I/M - 11'/M^2) x', as the official code has it; float64."""
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(2.0, 1.0, (1, 5, 6, 4))
        module = san.SecondOrderChannelAttention(2)
        variables = module.init(jax.random.key(0), jnp.asarray(x))
        samples, count = x.reshape(30, 4).T, 30
        centring = np.eye(count) / count - np.ones((count, count)) / count**2
        root = np.asarray(san.matrix_square_root(samples @ centring @ samples.T))
        first, second = (variables["params"][f"conv_{i}"] for i in range(2))
        hidden = np.maximum(root.mean(1) @ first["kernel"][0, 0] + first["bias"], 0)
        weight = 1 / (1 + np.exp(-(hidden @ second["kernel"][0, 0] + second["bias"])))
        np.testing.assert_allclose(module.apply(variables, x), x * weight, rtol=1e-10)


def test_second_order_attention_looks_at_the_centre_of_large_images(monkeypatch):
    monkeypatch.setattr(san.SecondOrderChannelAttention, "largest_side", 5)
    x = np.random.default_rng(0).normal(size=(1, 8, 4, 4)).astype(np.float32)
    module = san.SecondOrderChannelAttention(2)
    variables = module.init(jax.random.key(0), x)
    changed = x.copy()
    changed[:, [0, 6, 7]] += 1  # (8 - 5) // 2 = 1: rows 1 to 5 count
    factor, same = (module.apply(variables, a) / a for a in (x, changed))
    np.testing.assert_allclose(same[0, 3, 2], factor[0, 3, 2], rtol=1e-5)
    changed[:, 5] *= 2
    other = module.apply(variables, changed) / changed
    assert np.abs(other[0, 3, 2] - factor[0, 3, 2]).max() > 1e-4


def test_constant_features_give_finite_outputs_and_gradients():
    """The official code divides 0 by 0 there."""
    module = san.SecondOrderChannelAttention(2)
    x = jnp.ones((1, 4, 4, 4))
    variables = module.init(jax.random.key(0), x)
    y, pullback = jax.vjp(lambda x: module.apply(variables, x), x)
    assert np.isfinite(y).all()
    assert np.isfinite(pullback(y)[0]).all()


def test_non_local_block_works_on_quadrants_and_starts_as_the_identity():
    x = jax.random.normal(jax.random.key(0), (1, 7, 6, 8))
    module = san.RegionNonLocal(10**6)
    variables = module.init(jax.random.key(1), x)
    np.testing.assert_array_equal(module.apply(variables, x), x)
    params = variables["params"]["non_local"]
    params = {**params, "W": jax.tree.map(jnp.ones_like, params["W"])}
    variables = {"params": {**variables["params"], "non_local": params}}
    change = module.apply(variables, x.at[:, 3:, :3].add(1.0)) - module.apply(variables, x)
    assert (np.abs(change[:, 3:, :3]).max((0, 3)) > 0).all()  # the lower ones have 4 rows
    np.testing.assert_array_equal(change[:, :3], 0)
    np.testing.assert_array_equal(change[:, :, 3:], 0)


def test_dead_parameters_have_no_gradient_and_others_have_one():
    model = create_model("san", **SMALL)
    variables = random_variables(model)
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


def test_the_program_does_not_grow_with_depth():
    """Groups and their blocks are loops: compile time is that of one block."""

    def length(n_resgroups: int, n_resblocks: int) -> int:
        model = create_model(
            "san", **{**SMALL, "n_resgroups": n_resgroups, "n_resblocks": n_resblocks}
        )

        def loss(variables):
            return model.apply(variables, jnp.zeros((1, 8, 8, 3))).sum()

        return len(jax.jit(jax.grad(loss)).lower(variable_shapes(model)).as_text())

    assert length(20, 10) < 1.02 * length(2, 2)
