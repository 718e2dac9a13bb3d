"""SRResNet: the official port's outputs and statistics, its variants, its initialisation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import filled

from experiments.goldens import nhwc, relative_error
from sr_jax.interop.torch import from_torch
from sr_jax.models import create_model, forward, layers
from sr_jax.weights import variable_shapes


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 2e-7)])
def test_training_mode_equals_the_official_codes(golden, dtype, tolerance):
    """Output from the batch's statistics, and running statistics after one step."""
    reference = golden("srresnet_x4")
    with jax.enable_x64(dtype == np.float64):
        model, variables = from_torch(reference.state_dict)
        x, expected = (
            jnp.asarray(nhwc(reference.arrays[key]), dtype) for key in ("input", "train_output")
        )
        train = jax.jit(lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]))
        output, updates = train(variables, x)
        assert relative_error(output, expected) <= tolerance
    stats = updates["batch_stats"]
    updated = {
        "trunk.0.rcb.1.running_mean": stats["body"]["norm_0"]["mean"][0],
        "trunk.0.rcb.1.running_var": stats["body"]["norm_0"]["var"][0],
        "conv2.1.running_mean": stats["body_norm"]["mean"],
        "conv2.1.running_var": stats["body_norm"]["var"],
    }
    names = reference.meta["train_running_stats_after_one_forward"]
    assert set(names) == set(updated)
    for index, name in enumerate(names):
        expected = reference.arrays[f"train_stat_{index}"]
        assert relative_error(updated[name], expected) <= tolerance


def test_every_copy_keeps_its_own_statistics():
    model = create_model("srresnet", n_resblocks=3, n_feats=4)
    x = jax.random.uniform(jax.random.key(1), (2, 8, 8, 3))
    train = jax.jit(lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]))
    _, updates = train(filled(model), x)
    means = updates["batch_stats"]["body"]["norm_0"]["mean"]
    assert means.shape == (3, 4)
    assert not np.allclose(means[0], means[1])


def test_scanned_and_unrolled_statistics_agree():
    """The same sums in another order: 1e-6 of float32 values of order 1."""

    class Net(layers.nn.Module):
        unroll_up_to: int

        @layers.nn.compact
        def __call__(self, x, train):
            norm = layers.BatchNorm(name="body")
            return layers.repeat(norm, 3, unroll_up_to=self.unroll_up_to)(x, train=train)

    x = 3 + jax.random.normal(jax.random.key(1), (2, 5, 5, 4))
    variables = Net(0).init(jax.random.key(0), x, False)
    results = [Net(length).apply(variables, x, True, mutable=["batch_stats"]) for length in (0, 3)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *results)
    stats = results[0][1]["batch_stats"]["body"]
    # 0.1 of the batch's own mean, about 3; a normalised image has mean 0.
    assert stats["mean"][0].mean() > 0.2
    assert abs(stats["mean"][1].mean()) < 1e-3


def test_batch_norm_in_bfloat16_sums_in_float32():
    x = (100 + jax.random.normal(jax.random.key(0), (4, 16, 16, 2))).astype(jnp.bfloat16)
    norm = layers.BatchNorm()
    variables = norm.init(jax.random.key(0), x)
    y, updates = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    assert y.dtype == jnp.bfloat16
    exact = np.asarray(x, np.float64).var((0, 1, 2), ddof=1)
    assert updates["batch_stats"]["var"].dtype == np.float32
    np.testing.assert_allclose(updates["batch_stats"]["var"], 0.9 + 0.1 * exact, rtol=1e-5)


def test_batch_norm_refuses_a_single_value():
    norm = layers.BatchNorm()
    x = jnp.zeros((1, 1, 1, 2))
    with pytest.raises(ValueError, match="one value a channel"):
        norm.apply(norm.init(jax.random.key(0), x), x, train=True, mutable=["batch_stats"])


def test_variants():
    x = jax.random.uniform(jax.random.key(1), (1, 6, 5, 3))
    small = {"n_resblocks": 1, "n_feats": 4}
    plain = create_model("srresnet", **small)
    variables = jax.jit(plain.init)(jax.random.key(0), x)
    y = forward(plain, variables, x)
    bounded = forward(create_model("srresnet", output="tanh", **small), variables, x)
    np.testing.assert_allclose(bounded, (np.tanh(y) + 1) / 2, atol=1e-6)  # float32
    coarse = forward(create_model("srresnet", bn_epsilon=1e-3, **small), variables, x)
    assert relative_error(coarse, y) > 1e-5

    keras = create_model("srresnet", prelu_per_channel=True, conv_bias=True, **small)
    params = variable_shapes(keras)["params"]
    assert params["head_prelu"]["slope"].shape == (4,)
    assert params["body"]["prelu"]["slope"].shape == (1, 4)
    assert params["body"]["conv_0"]["bias"].shape == (1, 4)
    assert params["body_conv"]["bias"].shape == (4,)
    with pytest.raises(ValueError, match="output is 'sigmoid'"):
        variable_shapes(create_model("srresnet", output="sigmoid"))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_scales(scale):
    model = create_model("srresnet", scale=scale, n_resblocks=1, n_feats=4)
    x = jnp.zeros((1, 5, 4, 3))
    y = jax.eval_shape(functools.partial(forward, model, scale=scale), filled(model), x)
    assert y.shape == (1, 5 * scale, 4 * scale, 3)


def test_initialisation_is_he_normal():
    model = create_model("srresnet")
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))["params"]
    kernels = params["body"]["conv_1"]["kernel"]
    # 16 x 36864 draws: 0.2 % of standard deviation, and some beyond what truncation would keep.
    expected = np.sqrt(2 / (64 * 9))
    assert np.std(kernels) == pytest.approx(expected, rel=0.01)
    assert np.abs(kernels).max() > 3 * expected
    assert not np.array_equal(kernels[0], kernels[1])
    assert np.all(params["tail"]["bias"] == 0)
    assert np.all(params["body"]["prelu"]["slope"] == 0.25)
    assert np.all(params["body"]["norm_0"]["scale"] == 1)
