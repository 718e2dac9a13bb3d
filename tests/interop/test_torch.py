"""State dicts of every layout: recognition, round trips, refusals."""

import itertools
import logging

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from sr_jax.data.degradation import modcrop
from sr_jax.interop.checkpoint import read_checkpoint
from sr_jax.interop.layout import Layout, Row
from sr_jax.interop.torch import LAYOUTS, convert, from_torch, recognise, to_torch
from sr_jax.models import ARCHITECTURES, create_model, describe_model
from sr_jax.models.layers import Conv
from sr_jax.models.network import Network
from sr_jax.weights import variable_shapes

RGB = {"rgb_range": 255.0, "n_colors": 3}
GOLDENS = {
    "srcnn_915_y": ("srcnn_915", {"padding": "zeros", "scale": None}),
    "vdsr_y_nobias": ("vdsr_nobias", {"depth": 20, "rgb_range": 1.0, "n_colors": 1}),
    "vdsr_y_bias": ("vdsr", {"depth": 20, "rgb_range": 1.0, "n_colors": 1}),
    "srresnet_x4": (
        "srresnet",
        {"scale": 4, "n_resblocks": 16, "prelu_per_channel": False, "output": "linear"},
    ),
    "srgan_disc": ("srgan_discriminator", {"image_size": 96, "n_feats": 64, "n_colors": 3}),
    "edsr_baseline_x2": ("edsr_baseline", {"scale": 2, "res_scale": 1.0, **RGB}),
    "edsr_full_x4": ("edsr", {"scale": 4, "res_scale": 0.1, **RGB}),
    "mdsr_full_x2": ("mdsr", {"scales": (2, 3, 4), "n_resblocks": 80, **RGB}),
    "rcan_x4": ("rcan", {"scale": 4, "n_resgroups": 10, "n_resblocks": 20, "reduction": 16, **RGB}),
    "san_x4": ("san", {"scale": 4, "n_resgroups": 20, "n_resblocks": 10, "reduction": 16, **RGB}),
    "csnln_x2": ("csnln", {"scale": 2, "n_feats": 128, "depth": 12, "rgb_range": 1.0}),
}


def random_variables(model, seed=0):
    """Other values in every place, so that nothing that is exchanged goes unseen."""
    rng = np.random.default_rng(seed)

    def draw(path, shape):
        if "sub_mean" in path and "bias" in path:
            return jnp.asarray([-0.4488, -0.4371, -0.4040], jnp.float32) * model.rgb_range
        if np.issubdtype(shape.dtype, np.integer):
            return jnp.asarray(rng.integers(1, 1000, shape.shape), jnp.int32)
        return jnp.asarray(rng.standard_normal(shape.shape), jnp.float32)

    return flax.traverse_util.path_aware_map(draw, dict(variable_shapes(model)))


def assert_bit_equal(ours, theirs):
    assert list(ours) == list(theirs)  # the order counts too
    for name, value in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (value.dtype, value.shape), name
        assert ours[name].tobytes() == value.tobytes(), name


@pytest.mark.parametrize("case", GOLDENS)
def test_goldens_are_recognised_and_come_back(golden, case):
    state_dict = golden(case).state_dict
    model, variables = from_torch(state_dict)
    name, hyperparameters = GOLDENS[case]
    described, fields = describe_model(model)
    assert described == name
    assert hyperparameters.items() <= fields.items()
    assert_bit_equal(to_torch(model, variables), state_dict)


SMALL = [
    ("srcnn_955", {"n_feats": (5, 4), "n_colors": 3}),
    ("vdsr", {"depth": 4, "n_feats": 5}),
    ("vdsr", {"depth": 5, "n_feats": 6, "n_colors": 3, "rgb_range": 255.0}),
    ("vdsr_nobias", {"depth": 3, "n_feats": 5}),
    ("srresnet", {"n_resblocks": 2, "n_feats": 6, "scale": 2}),
    ("srresnet", {"n_resblocks": 2, "n_feats": 6, "scale": 3, "prelu_per_channel": True}),
    ("srresnet", {"n_resblocks": 1, "n_feats": 6, "scale": 8, "conv_bias": True}),
    ("srresnet", {"n_resblocks": 2, "n_feats": 6, "conv_bias": True, "output": "tanh"}),
    ("srresnet", {"n_resblocks": 1, "n_feats": 6, "scale": 8, "output": "tanh"}),
    ("srgan_discriminator", {"image_size": 32, "n_feats": 2}),
    ("edsr", {"n_resblocks": 3, "n_feats": 6, "scale": 2, "res_scale": 1.0}),
    ("edsr", {"n_resblocks": 2, "n_feats": 6, "scale": 3, "res_scale": 1.0, "rgb_range": 1.0}),
    ("edsr", {"n_resblocks": 2, "n_feats": 6, "scale": 8, "res_scale": 1.0, "n_colors": 1,
              "rgb_range": 1.0}),
    ("mdsr", {"n_resblocks": 2, "n_feats": 6}),
    ("rcan", {"n_resgroups": 2, "n_resblocks": 3, "n_feats": 6, "reduction": 3, "scale": 3}),
    ("rcan", {"n_resgroups": 3, "n_resblocks": 2, "n_feats": 6, "reduction": 2, "scale": 8}),
    ("san", {"n_resgroups": 2, "n_resblocks": 3, "n_feats": 16, "reduction": 4, "scale": 3}),
    ("csnln", {"n_feats": 8, "depth": 3, "scale": 3}),
    ("csnln", {"n_feats": 8, "depth": 2, "scale": 4}),
    ("vgg16", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "hyperparameters"), SMALL)
def test_every_size_comes_back(name, hyperparameters):
    model = create_model(name, **hyperparameters)
    variables = random_variables(model)
    layouts = [known for known in LAYOUTS if known.network is type(model)]
    assert any(known.holds(model) for known in layouts)
    for layout in [known.name for known in layouts if known.holds(model)]:
        state_dict = to_torch(model, variables, layout=layout)
        conversion = convert(state_dict)
        assert conversion.model == model
        assert conversion.layout == layout
        jax.tree.map(np.testing.assert_array_equal, conversion.variables, variables)
        # Every hyper-parameter is accounted for, but for the limits that shapes have no part in.
        accounted = conversion.read.keys() | conversion.assumed.keys() | {"max_scores", "tile"}
        assert accounted >= describe_model(model)[1].keys()


def test_every_network_has_a_layout():
    assert {network for network, _ in ARCHITECTURES.values()} == {
        layout.network for layout in LAYOUTS
    }


def conv_names(names, bias=True):
    return [
        f"{name}.{part}" for name in names for part in (("weight", "bias") if bias else ("weight",))
    ]


def test_names_of_the_layouts_without_goldens():
    """As the code of Lornatang/SRCNN-PyTorch, Lornatang/VDSR-PyTorch and CSNLN's x4 has them."""
    srcnn = create_model("srcnn_915")
    state_dict = to_torch(srcnn, random_variables(srcnn), layout="lornatang")
    assert list(state_dict) == conv_names(["features.0", "map.0", "reconstruction"])
    vdsr = create_model("vdsr_nobias")
    state_dict = to_torch(vdsr, random_variables(vdsr), layout="lornatang")
    trunk = [f"trunk.{i}.conv" for i in range(18)]
    assert list(state_dict) == conv_names(["conv1.0", *trunk, "conv2"], bias=False)
    assert state_dict["conv2.weight"].shape == (1, 64, 3, 3)
    colour = create_model("vdsr", n_colors=3, rgb_range=255.0)
    state_dict = to_torch(colour, random_variables(colour))
    body = [f"body.{i}.0" for i in range(20)]
    assert list(state_dict) == conv_names(["sub_mean", "add_mean", *body])
    csnln = create_model("csnln", scale=4, n_feats=8, depth=2)
    modules = [
        name.split(".")[1]
        for name in to_torch(csnln, random_variables(csnln))
        if name.startswith("SEM.")
    ]
    assert [name for name, _ in itertools.groupby(modules)] == [
        "multi_source_projection", "down_sample_1", "error_encode", "post_conv",
        "multi_source_projection_2", "down_sample_3", "down_sample_4", "error_encode_2",
    ]  # fmt: skip


VGG_INDICES = {
    "vgg16": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    "vgg19": (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34),
}


@pytest.mark.parametrize("name", VGG_INDICES)
def test_torchvisions_vgg(name):
    rng = np.random.default_rng(0)
    blocks = 3 if name == "vgg16" else 4
    widths = (3, 64, 64, 128, 128, *(256,) * blocks, *(512,) * (2 * blocks))
    state_dict = {}
    for index, fan_in, width in zip(VGG_INDICES[name], widths, widths[1:], strict=False):
        state_dict[f"features.{index}.weight"] = rng.random((width, fan_in, 3, 3), np.float32)
        state_dict[f"features.{index}.bias"] = rng.random(width, np.float32)
    dense = {"classifier.0.weight": np.zeros((4, 4), np.float32)}
    model, variables = from_torch(state_dict | dense)
    assert describe_model(model)[0] == name
    last = variables["params"]["conv5_3" if name == "vgg16" else "conv5_4"]["kernel"]
    index = VGG_INDICES[name][-1]
    np.testing.assert_array_equal(
        last, state_dict[f"features.{index}.weight"].transpose(2, 3, 1, 0)
    )
    assert_bit_equal(to_torch(model, variables), state_dict)


@pytest.fixture
def edsr():
    model = create_model("edsr", n_resblocks=3, n_feats=6, scale=3, res_scale=1.0)
    return to_torch(model, random_variables(model))


def test_wrappings(edsr):
    other = {name: value + 1 for name, value in edsr.items()}
    wrappings = {
        ("state_dict",): {"epoch": 3, "state_dict": edsr},
        ("params",): {"params": edsr},
        ("params_ema",): {"params": other, "params_ema": edsr},  # the published one
        ("module.",): {f"module.{name}": value for name, value in edsr.items()},
        ("state_dict", "module.", "model."): {
            "state_dict": {f"module.model.{name}": value for name, value in edsr.items()},
            "optimizer": {"state": {0: {"step": 3}}},
        },
    }
    for taken, wrapped in wrappings.items():
        conversion = convert(wrapped)
        assert conversion.wrappers == taken
        assert_bit_equal(to_torch(conversion.model, conversion.variables), edsr)


def test_what_was_found_is_logged(edsr, caplog):
    with caplog.at_level(logging.INFO, "sr_jax"):
        from_torch(edsr)
    for part in ("edsr", "scale=3", "n_resblocks=3", "assumed: res_scale=1.0", "edsr's names"):
        assert part in caplog.text


def test_keywords_override(edsr):
    conversion = convert(edsr, "edsr", res_scale=0.5, rgb_range=1.0)
    assert (conversion.model.res_scale, conversion.model.rgb_range) == (0.5, 1.0)
    assert "res_scale" not in conversion.assumed
    with pytest.raises(ValueError, match="no hyper-parameter depth; it has scale, n_resblocks"):
        from_torch(edsr, depth=3)
    with pytest.raises(ValueError, match=r"tail\.0\.0\.weight has shape \(54, .*expected \(24"):
        from_torch(edsr, scale=2)


def test_what_the_mean_shift_tells(edsr):
    # values that were trained along, and the mean of DIV2K and Flickr2K together
    for mean, white in (((-114.9, -111.2, -103.1), 255.0), ((-0.4690, -0.4490, -0.4036), 1.0)):
        edsr["sub_mean.bias"] = np.asarray(mean, np.float32)
        model, variables = from_torch(edsr)
        assert model.rgb_range == white
        assert_bit_equal(to_torch(model, variables), edsr)  # kept as the checkpoint has them


def test_all_misfits_in_one_error(edsr):
    edsr["extra"] = edsr.pop("body.1.body.2.bias")
    edsr["head.0.weight"] = edsr["head.0.weight"][:5]  # is to be blamed itself, not believed
    edsr["body.0.body.0.bias"] = edsr["body.0.body.0.bias"].reshape(2, 3)
    edsr["tail.1.bias"] = edsr["tail.1.bias"].astype(np.int64)
    with pytest.raises(ValueError, match="do not fit the network edsr") as error:
        from_torch(edsr)
    assert str(error.value).split(": ", 1)[1].split("; ") == [
        "missing body.1.body.2.bias",
        "unexpected extra",
        "head.0.weight has shape (5, 3, 3, 3), expected (6, 3, 3, 3)",
        "body.0.body.0.bias has shape (2, 3), expected (6,)",
        "tail.1.bias has dtype int64",
    ]


def test_another_network_than_asked_for(edsr):
    rcan = create_model("rcan", n_resgroups=2, n_resblocks=2, n_feats=6, reduction=2)
    with pytest.raises(ValueError, match=r"^asked for edsr, but these are tensors of rcan$"):
        from_torch(to_torch(rcan, random_variables(rcan)), "edsr")
    srcnn = create_model("srcnn_955")
    # Sizes are the tensors' own, whichever of the class's names is given.
    assert from_torch(to_torch(srcnn, random_variables(srcnn)), "srcnn_915")[0] == srcnn
    assert from_torch(edsr, "edsr_baseline")[0].n_feats == 6
    with pytest.raises(ValueError, match="unknown architecture 'esrgan'; known are srcnn_915"):
        from_torch(edsr, "esrgan")


def test_what_is_no_known_state_dict(edsr):
    with pytest.raises(ValueError, match="no known network has tensors of these names: conv_first"):
        from_torch({"conv_first.weight": np.zeros((64, 3, 3, 3), np.float32)})
    with pytest.raises(ValueError, match="no known network has tensors of these names: 0, 1"):
        from_torch({0: np.zeros(3, np.float32), 1: np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match=r"missing sub_mean\.weight; .*unexpected conv_first"):
        from_torch({"conv_first.weight": np.zeros((64, 3, 3, 3), np.float32)}, "edsr")
    with pytest.raises(ValueError, match="it is empty"):
        from_torch({})
    with pytest.raises(ValueError, match="rest hold no tensors"):
        from_torch({**edsr, "rest": [3]})


def test_counters_and_single_values_are_left_aside_and_named(edsr):
    extra = {"total_ops": np.zeros(1), "body.0.total_params": np.zeros(1), "epoch": 3, "lr": 0.1}
    found = convert({**edsr, **extra})
    assert set(found.aside) == extra.keys()
    assert found.model == from_torch(edsr)[0]
    assert "left aside: total_ops, body.0.total_params, epoch, lr" in found.describe()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "generator.", "net.", "netG."])
def test_a_network_among_others_is_taken_out(prefix, edsr):
    inner = {f"{prefix}{name}": value for name, value in edsr.items()}
    found = convert({"state_dict": {**inner, "discriminator.0.weight": np.zeros((3, 3))}})
    assert found.model == from_torch(edsr)[0]
    assert found.wrappers == ("state_dict", prefix)
    assert found.aside == ("discriminator.0.weight",)


def test_to_torch_refuses(edsr):
    model, variables = from_torch(edsr)
    with pytest.raises(ValueError, match="edsr has no layout 'basicsr'; known are edsr"):
        to_torch(model, variables, layout="basicsr")
    other = model.clone(n_resblocks=4)
    with pytest.raises(
        ValueError, match=r"params/body/conv_0/kernel has shape \(3, .*expected \(4"
    ):
        to_torch(other, variables)


class Plain(Network):
    """A network outside the package: convolutions alone."""

    n_feats: int = 4
    depth: int = 3
    n_colors: int = 1
    activation: str = "relu"

    @nn.compact
    def __call__(self, images, *, scale=None, train=False):
        for i in range(self.depth - 1):
            images = nn.relu(Conv(self.n_feats, name=f"conv_{i}")(images))
        return Conv(self.n_colors, name="last")(images)


def plain_rows(model):
    yield from (Row(f"layers.{2 * i}", f"conv_{i}") for i in range(model.depth - 1))
    yield Row("out", "last")


def plain_fields(weights):
    last = weights.largest(r"layers\.(\d+)\.")
    read = {
        "depth": None if last is None else last // 2 + 2,
        "n_feats": weights.size((r"layers\..*\.weight", 0)),
        "n_colors": weights.size((r"out\.weight", 0)),
    }
    return read, {"activation": "relu"}


PLAIN = Layout(Plain, "plain", r"layers\.\d+\.weight", plain_rows, plain_fields)


def test_a_network_outside_the_package_brings_its_layout():
    model = Plain(n_feats=6, depth=5, n_colors=3)
    variables = random_variables(model)
    state_dict = to_torch(model, variables, layout=PLAIN)
    assert list(state_dict) == conv_names([*(f"layers.{i}" for i in (0, 2, 4, 6)), "out"])
    conversion = convert({"params": state_dict}, PLAIN)
    assert conversion.model == model
    assert conversion.assumed == {"activation": "relu"}
    jax.tree.map(np.testing.assert_array_equal, conversion.variables, variables)
    assert recognise(state_dict, PLAIN) is Plain
    del state_dict["layers.2.weight"], state_dict["out.weight"]
    with pytest.raises(ValueError, match=r"missing layers\.2\.weight; missing out\.weight"):
        from_torch(state_dict, PLAIN)


def test_a_network_without_a_layout(edsr):
    model = Plain()
    variables = random_variables(model)
    for layout in (None, "edsr"):
        with pytest.raises(ValueError, match=r"^.*:Plain has no layout of PyTorch names: pass its"):
            to_torch(model, variables, layout=layout)
    with pytest.raises(ValueError, match="no known network has tensors of these names: layers"):
        from_torch(to_torch(model, variables, layout=PLAIN))
    with pytest.raises(ValueError, match=r"this layout is one of Plain, given edsr$"):
        to_torch(*from_torch(edsr), layout=PLAIN)


def test_what_other_code_cannot_compute_is_not_written():
    """A file that is read as another network would be worse than none."""
    tanh = create_model("srresnet", n_resblocks=1, n_feats=4, scale=3, output="tanh")
    for layout in ("lornatang", "leftthomas", None):
        with pytest.raises(ValueError, match=r"has no srresnet with scale=3.*output=tanh"):
            to_torch(tanh, random_variables(tanh), layout=layout)


def test_a_revision_of_leftthomas_without_batch_normalisation_is_refused():
    """Where block 7 has PReLU in its place (b0323c6): one line, not another network."""
    model = create_model("srresnet", n_resblocks=2, n_feats=4, output="tanh")
    state_dict = to_torch(model, random_variables(model))
    wrong = {k: v for k, v in state_dict.items() if not k.startswith("block4.1")}
    wrong["block4.1.weight"] = np.full(1, 0.25, np.float32)
    with pytest.raises(ValueError, match=r"missing block4\.1\.bias.*block4\.1\.weight has shape"):
        from_torch(wrong)


@pytest.mark.parametrize(("scale", "psnr"), [(2, 31.44025), (4, 28.63109)])
def test_leftthomas_reaches_its_published_psnr(shared, scale, psnr):
    """Mean PSNR of RGB on Set5, as the benchmark table of those files gives it.

    Whole images, LR by Pillow's bicubic, nothing rounded. 0.002 dB: the table does not say how its
    images were read and cropped; with MATLAB's bicubic in place of Pillow's it is 0.005 to 0.008.
    """
    path = shared(f"weights/srgan_leftthomas/dyckia_netG_epoch_{scale}_100.pth")
    model, variables = from_torch(read_checkpoint(path)[0])
    assert (model.n_resblocks, model.scale, model.output) == (5, scale, "tanh")
    upscale = jax.jit(model.apply)
    found = []
    for file in sorted(shared("data/benchmarks/Set5/HR").glob("*.png")):
        hr = modcrop(np.asarray(Image.open(file).convert("RGB")), scale)
        lr = Image.fromarray(hr).resize((hr.shape[1] // scale, hr.shape[0] // scale), Image.BICUBIC)
        sr = upscale(variables, np.asarray(lr, np.float32)[None] / 255)[0]
        found.append(-10 * np.log10(np.mean((np.asarray(sr) - hr / 255) ** 2)))
    assert np.mean(found) == pytest.approx(psnr, abs=0.002)
