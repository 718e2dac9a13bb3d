"""Contracts of the models package: names, counts, layers, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import filled

from sr_jax.models import (
    ARCHITECTURES,
    count_parameters,
    create_model,
    describe_model,
    forward,
)
from sr_jax.ops.target import Target, traced_for
from sr_jax.weights import variable_shapes

# Fact sheet section 12: the counts of the papers and of the official code.
PARAMETERS = [
    ("srcnn_915", {}, 8_129),
    ("srcnn_935", {}, 24_513),
    ("srcnn_955", {}, 57_281),
    ("srcnn_915", {"n_colors": 3}, 20_099),
    ("srcnn_955", {"n_colors": 3}, 69_251),
    ("vdsr", {}, 665_921),
    ("vdsr_nobias", {}, 664_704),
    ("vdsr", {"n_colors": 3}, 668_227),
    ("srresnet", {"scale": 2}, 1_399_637),
    ("srresnet", {"scale": 3}, 1_584_277),
    ("srresnet", {"scale": 4}, 1_547_350),
    ("srresnet", {"scale": 8}, 1_695_063),
    ("srgan_generator", {}, 1_547_350),
    ("srgan_discriminator", {}, 23_563_649),
    ("edsr_baseline", {"scale": 2}, 1_369_859),
    ("edsr_baseline", {"scale": 3}, 1_554_499),
    ("edsr_baseline", {"scale": 4}, 1_517_571),
    ("edsr", {"scale": 2}, 40_729_603),
    ("edsr", {"scale": 3}, 43_680_003),
    ("edsr", {"scale": 4}, 43_089_923),
    ("mdsr_baseline", {}, 3_227_203),
    ("mdsr", {}, 7_953_987),
    ("rcan", {"scale": 2}, 15_444_643),
    ("rcan", {"scale": 3}, 15_629_283),
    ("rcan", {"scale": 4}, 15_592_355),
    ("rcan", {"scale": 8}, 15_740_067),
    ("san", {"scale": 2}, 15_712_776),
    ("san", {"scale": 3}, 15_897_416),
    ("san", {"scale": 4}, 15_860_488),
    ("san", {"scale": 8}, 16_008_200),
    ("csnln", {"scale": 2}, 3_061_265),
    ("csnln", {"scale": 3}, 6_010_385),
    ("csnln", {"scale": 4}, 6_568_603),
    ("vgg19", {}, 20_024_384),  # torchvision's `features`
    ("vgg16", {}, 14_714_688),
]


@pytest.mark.parametrize(("name", "hyperparameters", "count"), PARAMETERS)
def test_parameter_count(name, hyperparameters, count):
    assert count_parameters(variable_shapes(create_model(name, **hyperparameters))) == count


def test_create_describe_round_trip():
    for name in ARCHITECTURES:
        model = create_model(name)
        described, hyperparameters = describe_model(model)
        # SRGAN's generator is SRResNet by another name.
        assert described == ("srresnet" if name == "srgan_generator" else name)
        assert create_model(described, **hyperparameters) == model


def test_lists_become_tuples():
    assert create_model("srcnn_915", kernel_sizes=[9, 5, 5]) == create_model("srcnn_955")


def test_unknown_names_are_listed():
    with pytest.raises(ValueError, match=r"unknown architecture 'edrs'.*edsr_baseline"):
        create_model("edrs")
    with pytest.raises(ValueError, match=r"no hyper-parameter n_feat; it has .*n_feats"):
        create_model("edsr", n_feat=64)


def test_forward_refuses_what_it_cannot_take():
    model = create_model("edsr_baseline", n_resblocks=1, n_feats=4)
    variables = filled(model)
    with pytest.raises(ValueError, match=r"takes images \(N, H, W, 3\); given \(1, 6, 6, 1\)"):
        forward(model, variables, jnp.zeros((1, 6, 6, 1)))
    with pytest.raises(ValueError, match="floating-point"):
        forward(model, variables, jnp.zeros((1, 6, 6, 3), jnp.uint8))
    with pytest.raises(ValueError, match="upscales by 2; asked for scale 3"):
        forward(model, variables, jnp.zeros((1, 6, 6, 3)), scale=3)
    assert forward(model, variables, jnp.zeros((1, 6, 6, 3)), scale=2).shape == (1, 12, 12, 3)


def test_srcnn_paddings_agree_in_the_interior():
    images = jax.random.uniform(jax.random.key(1), (1, 20, 24, 1))
    zeros = create_model("srcnn_955")
    variables = jax.jit(zeros.init)(jax.random.key(0), images)
    expected = forward(zeros, variables, images)
    valid = forward(create_model("srcnn_955", padding="valid"), variables, images)
    replicate = forward(create_model("srcnn_955", padding="replicate"), variables, images)
    assert valid.shape == (1, 4, 8, 1)
    # float32 sums in another order: 1e-6 of the values.
    np.testing.assert_allclose(valid, expected[:, 8:-8, 8:-8], rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(replicate[:, 8:-8, 8:-8], valid, rtol=1e-5, atol=1e-12)
    assert np.abs(replicate - expected).max() > 0  # the border is where they differ


def test_initialisation_is_pytorchs_default():
    model = create_model("edsr_baseline", n_resblocks=2)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))["params"]
    bound = 1 / np.sqrt(64 * 9)
    for leaf in (params["body"]["conv_0"]["kernel"], params["body"]["conv_1"]["bias"]):
        assert np.abs(leaf).max() <= bound
        # A uniform variable's standard deviation; 2 x 64 biases estimate it to about 5 %.
        assert np.std(leaf) == pytest.approx(bound / np.sqrt(3), rel=0.2)
    kernels = params["body"]["conv_0"]["kernel"]
    assert not np.array_equal(kernels[0], kernels[1])  # every copy draws its own


LARGE = [
    ("edsr_baseline", {"n_resblocks": 1, "scale": 4}),
    ("srresnet", {"n_resblocks": 1, "prelu_per_channel": True}),
    ("mdsr", {"n_resblocks": 1}),
]


@pytest.mark.parametrize(("name", "fields"), LARGE)
def test_large_images_equal_the_textbook_form(name, fields):
    """Upsampler and last layer in one piece; float32, of the largest value: 1e-5."""
    model = create_model(name, **fields)
    scale = 3 if model.scales else None
    rng = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: (0.05 * rng.normal(size=leaf.shape)).astype(leaf.dtype),
        variable_shapes(model),
    )
    if "batch_stats" in variables:  # variances are not negative
        variables["batch_stats"] = jax.tree.map(np.abs, variables["batch_stats"])
    image = rng.random((1, 104, 98, 3), np.float32)
    values = forward(model, variables, image, scale=scale)
    with traced_for(Target("any")):
        expected = forward(model, variables, image, scale=scale)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


DEEP = {
    "rcan": ({"n_feats": 8, "reduction": 2}, ("n_resgroups", "n_resblocks"), (5, 10), (20, 40)),
    "san": ({"n_feats": 8, "reduction": 2}, ("n_resgroups", "n_resblocks"), (2, 2), (20, 10)),
    "csnln": ({"n_feats": 8}, ("depth",), (2,), (12,)),
}


@pytest.mark.parametrize("name", DEEP)
def test_the_program_does_not_grow_with_depth(name):
    """Groups, blocks and cells are loops: they compile as fast as one of them."""
    fields, names, *depths = DEEP[name]

    def length(depth: tuple[int, ...]) -> int:
        model = create_model(name, **fields, **dict(zip(names, depth, strict=True)))

        def loss(variables):
            return model.apply(variables, jnp.zeros((1, 8, 8, 3))).sum()

        return len(jax.jit(jax.grad(loss, allow_int=True)).lower(variable_shapes(model)).as_text())

    shallow, deep = map(length, depths)
    assert deep < (1.02 if name == "san" else 1.01) * shallow
