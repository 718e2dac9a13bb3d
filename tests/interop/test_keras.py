"""Keras files of SRResNet: order of layers and channels, published scores, refusals."""

import h5py
import numpy as np
import pytest
from scipy.ndimage import correlate

from sr_jax.imaging.files import from_float, read_image, to_float
from sr_jax.imaging.metrics import score_luma
from sr_jax.interop import keras
from sr_jax.interop.torch import from_torch
from sr_jax.models import describe_model, forward

FEATURES = 4


def layers(scale=4, blocks=2):
    """(name, weights) of a small network as Keras lists them."""
    rng = np.random.default_rng(0)
    found = []

    def conv(size, fan_in, width):
        kernel = rng.standard_normal((size, size, fan_in, width)) / (size * np.sqrt(fan_in))
        weights = {"kernel": kernel, "bias": 0.1 * rng.standard_normal(width)}
        found.append((f"conv2d_{len(found)}", weights))

    def prelu():
        found.append((f"p_re_lu_{len(found)}", {"alpha": rng.random((1, 1, FEATURES))}))

    def norm():
        drawn = {name: rng.standard_normal(FEATURES) for name in ("gamma", "beta", "moving_mean")}
        drawn["moving_variance"] = rng.random(FEATURES) + 0.5
        found.append((f"batch_normalization_v1_{len(found)}", drawn))

    conv(9, 3, FEATURES)
    prelu()
    for _ in range(blocks):
        for layer in (0, 1):
            conv(3, FEATURES, FEATURES)
            norm()
            if layer == 0:
                prelu()
    conv(3, FEATURES, FEATURES)
    norm()
    for _ in range({2: 1, 4: 2}[scale]):
        conv(3, FEATURES, 4 * FEATURES)
        prelu()
    conv(9, FEATURES, 3)
    return found


def write(path, listed, group=None):
    with h5py.File(path, "w") as file:
        root = file.create_group(group) if group else file
        root.attrs["layer_names"] = [b"input_1", *(name.encode() for name, _ in listed), b"lambda"]
        for name in ("input_1", "lambda"):
            root.create_group(name).attrs["weight_names"] = np.array([], "S1")
        for name, weights in listed:
            root.create_group(name).attrs["weight_names"] = [
                f"{name}/{key}:0".encode() for key in weights
            ]
            for key, value in weights.items():
                root[name][f"{name}/{key}:0"] = value.astype(np.float32)


def run(listed, image):
    """The network by Keras's definitions, in float64."""
    queue = [weights for _, weights in listed]

    def conv(x):
        weights = queue.pop(0)
        planes = [
            sum(
                correlate(x[..., i], kernel[..., i], mode="constant")
                for i in range(kernel.shape[-1])
            )
            for kernel in np.moveaxis(weights["kernel"], -1, 0)
        ]
        return np.stack(planes, -1) + weights["bias"]

    def prelu(x):
        return np.maximum(x, 0) + queue.pop(0)["alpha"] * np.minimum(x, 0)

    def norm(x):
        w = queue.pop(0)
        return (x - w["moving_mean"]) / np.sqrt(w["moving_variance"] + 1e-3) * w["gamma"] + w[
            "beta"
        ]

    def depth_to_space(x):
        h, w, c = x.shape
        x = x.reshape(h, w, 2, 2, c // 4).transpose(0, 2, 1, 3, 4)
        return x.reshape(2 * h, 2 * w, c // 4)

    first = x = prelu(conv(image))
    while len(queue[2]) == 1:  # the blocks have a PReLU in third place
        x = x + norm(conv(prelu(norm(conv(x)))))
    x = first + norm(conv(x))
    while len(queue) > 1:
        x = prelu(depth_to_space(conv(x)))
    return (np.tanh(conv(x)) + 1) / 2


@pytest.mark.parametrize(("scale", "group"), [(2, None), (4, "model_weights")])
def test_equals_keras_definitions(tmp_path, scale, group):
    listed = layers(scale)
    write(tmp_path / "generator.h5", listed, group)
    state_dict, implied = keras.read(tmp_path / "generator.h5")
    model, variables = from_torch(state_dict, **implied)
    expected = {"scale": scale, "n_resblocks": 2, "n_feats": FEATURES, "prelu_per_channel": True,
                "conv_bias": True, "output": "tanh", "bn_epsilon": 1e-3}  # fmt: skip
    assert expected.items() <= describe_model(model)[1].items()
    image = np.random.default_rng(1).random((7, 6, 3))
    output = forward(model, variables, image[None].astype(np.float32))
    np.testing.assert_allclose(output[0], run(listed, image), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "score"), [("pre", 32.01), ("gan", 29.18)])
def test_scores_on_set5(shared, file, score):
    path = shared(f"weights/srresnet_srgan_keras/{file}_generator.h5")
    state_dict, implied = keras.read(path)
    model, variables = from_torch(state_dict, **implied)
    scores = []
    for path in sorted(shared("data/benchmarks/Set5/HR").glob("*.png")):
        low = read_image(path.parents[1] / "LR_bicubic" / "X4" / f"{path.stem}x4.png")
        high = read_image(path)[: 4 * low.shape[0], : 4 * low.shape[1]]
        output = from_float(np.asarray(forward(model, variables, to_float(low)[None])[0]))
        scores.append(score_luma(output, high, border=4)[0])
    assert round(float(np.mean(scores)), 2) == score


def test_refusals(tmp_path):
    path = tmp_path / "some.h5"
    path.write_bytes(b"junk")
    with pytest.raises(ValueError, match="not a readable Keras file"):
        keras.read(path)
    with h5py.File(path, "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"not a readable Keras file: .*layer_names"):
        keras.read(path)
    write(path, layers()[:-1])
    with pytest.raises(ValueError, match="is no SRResNet: its layers are cpcbpcb"):
        keras.read(path)
