"""The authors' MATLAB files: layout of the kernels, published scores, refusals."""

import numpy as np
import pytest
import scipy.io
import scipy.ndimage

from sr_jax.imaging.color import rgb_to_luma
from sr_jax.imaging.files import read_image, to_float
from sr_jax.imaging.metrics import psnr, shave
from sr_jax.imaging.resize import imresize
from sr_jax.interop import matlab
from sr_jax.interop.torch import from_torch
from sr_jax.models import describe_model, forward


def test_srcnn_as_imfilter_applies_it(tmp_path):
    """A direct transcription of the authors' loops over imfilter('same', 'replicate')."""
    rng = np.random.default_rng(0)
    content = {
        "weights_conv1": rng.standard_normal((81, 4)) / 9,
        "weights_conv2": rng.standard_normal((4, 9, 3)) / 6,
        "weights_conv3": rng.standard_normal((3, 25)) / 9,
        **{f"biases_conv{i}": rng.standard_normal((n, 1)) for i, n in ((1, 4), (2, 3), (3, 1))},
    }
    scipy.io.savemat(tmp_path / "x3.mat", content)
    state_dict, implied = matlab.read(tmp_path / "x3.mat")
    model, variables = from_torch(state_dict, **implied)
    assert describe_model(model)[1]["kernel_sizes"] == (9, 3, 5)
    assert model.padding == "replicate"
    assert model.scale is None

    image = rng.random((12, 11))
    maps = [image]
    for layer, size in ((1, 9), (2, 3), (3, 5)):
        weights = content[f"weights_conv{layer}"]
        weights = {1: weights[None], 2: weights, 3: weights[:, :, None]}[layer]  # (in, k * k, out)
        found = []
        for out in range(weights.shape[2]):
            total = content[f"biases_conv{layer}"][out, 0]
            for channel, plane in enumerate(maps):
                kernel = weights[channel, :, out].reshape(size, size, order="F")
                total = total + scipy.ndimage.correlate(plane, kernel, mode="nearest")
            found.append(total if layer == 3 else np.maximum(total, 0))
        maps = found
    output = forward(model, variables, image[None, :, :, None].astype(np.float32))
    np.testing.assert_allclose(output[0, :, :, 0], maps[0], atol=1e-5)


def test_vdsr(tmp_path):
    rng = np.random.default_rng(0)
    shapes = [(3, 3, 1, 6), (3, 3, 6, 6), (3, 3, 6, 6), (3, 3, 6)]  # MATLAB drops the last 1
    cells = {"weight": np.empty((1, 4), object), "bias": np.empty((1, 4), object)}
    for i, shape in enumerate(shapes):
        cells["weight"][0, i] = rng.standard_normal(shape).astype(np.float32)
        cells["bias"][0, i] = rng.standard_normal((shape[3] if i < 3 else 1, 1)).astype(np.float32)
    scipy.io.savemat(tmp_path / "vdsr.mat", {"model": cells})
    state_dict, implied = matlab.read(tmp_path / "vdsr.mat")
    model, variables = from_torch(state_dict, **implied)
    assert (describe_model(model)[0], model.depth, model.n_feats) == ("vdsr", 4, 6)
    params = variables["params"]
    np.testing.assert_array_equal(params["head"]["kernel"], cells["weight"][0, 0])
    np.testing.assert_array_equal(params["body"]["kernel"][1], cells["weight"][0, 2])
    np.testing.assert_array_equal(params["tail"]["kernel"][..., 0], cells["weight"][0, 3])
    np.testing.assert_array_equal(params["body"]["bias"][0], cells["bias"][0, 1].ravel())


def luma_psnr(model, variables, path, scale):
    """The protocol of SRCNN's and VDSR's tables: an 8-bit luma, reduced and enlarged in double,
    the result rounded to 8 bits, without `scale` pixels at each border."""
    image = read_image(path)
    height, width = (side - side % scale for side in image.shape[:2])
    luma = rgb_to_luma(to_float(image[:height, :width], np.float64))
    luma = np.floor(luma * 255 + 0.5) / 255
    low = imresize(luma, size=(height // scale, width // scale))
    interpolated = imresize(low, size=(height, width)).astype(np.float32)
    output = np.asarray(forward(model, variables, interpolated[None])[0], np.float64)
    output = np.floor(np.clip(output, 0, 1) * 255 + 0.5)
    return psnr(shave(output, scale), shave(luma * 255, scale))


@pytest.mark.parametrize(
    ("file", "scale", "published"),
    [
        ("srcnn_official/9-1-5_91_images/x3.mat", 3, 32.39),
        pytest.param("srcnn_official/9-5-5_ImageNet/x2.mat", 2, 36.66, marks=pytest.mark.slow),
        pytest.param("vdsr_official/VDSR_Official.mat", 4, 31.34, marks=pytest.mark.slow),
    ],
)
def test_published_scores_on_set5(shared, file, scale, published):
    state_dict, implied = matlab.read(shared(f"weights/{file}"))
    model, variables = from_torch(state_dict, **implied)
    images = sorted(shared("data/benchmarks/Set5/HR").glob("*.png"))
    scores = [luma_psnr(model, variables, path, scale) for path in images]
    assert round(float(np.mean(scores)), 2) == published


def test_refusals(tmp_path, shared):
    path = tmp_path / "some.mat"
    path.write_bytes(b"junk" * 100)
    with pytest.raises(ValueError, match="not a readable MATLAB file"):
        matlab.read(path)
    scipy.io.savemat(path, {"images": np.zeros(3)})
    with pytest.raises(ValueError, match="holds images; expected SRCNN's weights_conv1"):
        matlab.read(path)
    scipy.io.savemat(path, {"weights_conv1": np.zeros((80, 64))})
    with pytest.raises(ValueError, match="damaged or of another make"):
        matlab.read(path)
    whole = shared("weights/srcnn_official/9-1-5_91_images/x2.mat").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"some\.mat"):
        matlab.read(path)
