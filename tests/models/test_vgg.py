"""VGG's features equal those of torchvision's layers, rebuilt here with random weights."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.goldens import relative_error
from sr_jax.models import check_call, create_model, forward
from sr_jax.models.vgg import VGG

CONVS_PER_BLOCK = {"vgg19": (2, 2, 4, 4, 4), "vgg16": (2, 2, 3, 3, 3)}
# torchvision's numbers in `features`, first and last tap: the convolution; its ReLU is the next.
INDEX = {
    "vgg19": {"conv2_2": 7, "conv5_4": 34},
    "vgg16": {"conv2_2": 7, "conv5_3": 28},
}


def torchvision_features(torch, convs_per_block):
    """torchvision.models.vgg19().features, layer by layer, in float64."""
    layers, names, channels = [], [], 3
    for block, count in enumerate(convs_per_block, 1):
        width = min(64 * 2 ** (block - 1), 512)
        for index in range(1, count + 1):
            names.append((f"conv{block}_{index}", len(layers)))
            layers += [torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.ReLU()]
            channels = width
        layers.append(torch.nn.MaxPool2d(2))
    return torch.nn.Sequential(*layers).double(), names


@pytest.mark.parametrize("name", INDEX)
def test_equals_torch(name):
    """float64, the same sums in another order: 1e-12. The gradient is that of the last tap."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network, names = torchvision_features(torch, CONVS_PER_BLOCK[name])
    params = {
        layer: {
            "kernel": network[index].weight.detach().numpy().transpose(2, 3, 1, 0),
            "bias": network[index].bias.detach().numpy(),
        }
        for layer, index in names
    }
    first, last = INDEX[name].items()
    assert {tap: dict(names)[tap] for tap in INDEX[name]} == INDEX[name]
    images = np.random.default_rng(0).uniform(size=(1, 21, 18, 3))  # odd sides: pooling drops
    x = torch.tensor(images.transpose(0, 3, 1, 2), requires_grad=True)
    mean, std = (
        torch.tensor(values, dtype=torch.float64)[:, None, None]
        for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )

    def nhwc(tensor):
        return tensor.detach().numpy().transpose(0, 2, 3, 1)

    with jax.enable_x64(True):
        for after_relu in (False, True):
            model = create_model(name, tap=first[0], after_relu=after_relu)
            output = forward(model, {"params": params}, jnp.asarray(images))
            expected = network[: first[1] + 1 + after_relu]((x - mean) / std)
            assert output.dtype == np.float64
            assert relative_error(output, nhwc(expected)) <= 1e-12

        model = create_model(name, tap=last[0], after_relu=False)

        @functools.partial(jax.value_and_grad, argnums=1, has_aux=True)
        def loss(params, images):
            output = model.apply({"params": params}, images)
            return jnp.square(output).sum(), output

        (_, output), gradient = jax.jit(loss)(params, images)
        expected = network[: last[1] + 1]((x - mean) / std)
        assert relative_error(output, nhwc(expected)) <= 1e-12
        (expected,) = torch.autograd.grad(expected.square().sum(), x)
        assert relative_error(gradient, nhwc(expected)) <= 1e-12


@pytest.fixture
def small():
    """A VGG with one convolution in each of three blocks, and its variables."""
    model = VGG(convs_per_block=(1, 2, 1))
    return model, jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))


def test_all_taps_share_their_variables(small):
    model, variables = small
    assert set(variables["params"]) == {"conv1_1", "conv2_1", "conv2_2", "conv3_1"}
    x = jax.random.uniform(jax.random.key(1), (1, 9, 8, 3))
    for tap, shape in {"conv1_1": (9, 8, 64), "conv2_2": (4, 4, 128), None: (2, 2, 256)}.items():
        tapped = model.clone(tap=tap)
        shapes = jax.eval_shape(tapped.init, jax.random.key(0), x)
        assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, variables)
        assert forward(tapped, variables, x).shape == (1, *shape)


def test_several_taps_of_one_pass(small):
    model, variables = small
    x = jax.random.uniform(jax.random.key(1), (1, 8, 8, 3))
    taps = ("conv2_1", "conv1_1")
    maps = model.apply(variables, x, taps, method="feature_maps")
    for tap, found in zip(taps, maps, strict=True):
        # Compiled and not: float32 sums in another order.
        np.testing.assert_allclose(found, forward(model.clone(tap=tap), variables, x), atol=1e-5)


def test_computation_ends_at_the_tap(small):
    model, variables = small
    shallow = model.clone(tap="conv1_1")
    text = jax.jit(shallow.apply).lower(variables, jnp.zeros((1, 8, 8, 3))).as_text()
    assert text.count("stablehlo.convolution") == 1


def test_lpips_normalisation_is_imagenets():
    shift, factor = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    np.testing.assert_allclose((1 + shift) / 2, VGG().mean, rtol=1e-12)
    np.testing.assert_allclose(factor / 2, VGG().std, rtol=1e-12)


def test_refusals():
    with pytest.raises(ValueError, match=r"no layer conv5_5; there are conv1_1, .*conv5_4"):
        check_call(create_model("vgg19", tap="conv5_5"), (1, 32, 32, 3), np.float32)
    with pytest.raises(ValueError, match="conv5_3 needs images of 16 pixels a side at least"):
        check_call(create_model("vgg16"), (1, 20, 15, 3), np.float32)
    with pytest.raises(ValueError, match="no scale"):
        check_call(create_model("vgg16"), (1, 20, 20, 3), np.float32, 2)
    with pytest.raises(ValueError, match=r"takes images \(N, H, W, 3\)"):
        check_call(create_model("vgg16"), (1, 20, 20, 1), np.float32)
