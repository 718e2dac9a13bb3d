"""The library in two lines: `sr_jax.Upscaler` on arrays and PIL images."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import sr_jax
from sr_jax.imaging.resize import imresize
from sr_jax.inference.upscaler import upscale_image, upscale_rgb


@pytest.fixture(scope="module")
def network():
    model = sr_jax.create_model("edsr_baseline", n_resblocks=1, n_feats=4)
    return model, model.init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))


@pytest.fixture(scope="module")
def upscaler(network):
    return sr_jax.Upscaler(network)


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(12, 16), (12, 16, 2), (12, 16, 3), (12, 16, 4)])
def test_arrays_are_enlarged_as_files_are(network, upscaler, shape, dtype):
    image = noise(*shape, dtype=dtype)
    result = upscaler(image)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, upscale_image(*network, image, 2))


def test_other_shapes_keep_theirs(upscaler):
    grey = noise(12, 16)
    np.testing.assert_array_equal(upscaler(grey[..., None])[..., 0], upscaler(grey))
    batch = noise(2, 12, 16, 3)
    np.testing.assert_array_equal(upscaler(batch), [upscaler(batch[0]), upscaler(batch[1])])


def test_floats_are_neither_clipped_nor_rounded(network, upscaler):
    image = np.random.default_rng(0).random((12, 16, 3), np.float32)
    result = upscaler(image)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, upscale_rgb(*network, image, 2))
    grey = upscaler(image[..., 0])
    rgb = upscaler(np.repeat(image[..., :1], 3, axis=2))
    np.testing.assert_allclose(grey, rgb.mean(axis=-1), rtol=1e-6)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_pil_images_keep_their_mode(upscaler, mode):
    channels = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,), "I;16": ()}[mode]
    array = noise(12, 16, *channels, dtype=np.uint16 if mode == "I;16" else np.uint8)
    result = upscaler(Image.fromarray(array))
    assert result.mode == mode
    assert result.size == (32, 24)
    np.testing.assert_array_equal(np.asarray(result), upscaler(array))


def test_other_byte_orders_are_the_same_image(upscaler):
    image = noise(12, 16, 3, dtype=np.uint16)
    np.testing.assert_array_equal(upscaler(image.astype(">u2")), upscaler(image))


def test_any_scale_is_reached_by_interpolation(network):
    image = noise(12, 16, 3)
    assert sr_jax.Upscaler(network, scale=2.5)(image).shape == (30, 40, 3)
    result = sr_jax.Upscaler(network, scale=1.5)(image / np.float32(255))
    expected = imresize(upscale_rgb(*network, image / np.float32(255), 2), size=(18, 24))
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_files_and_settings(network, tmp_path):
    sr_jax.save(tmp_path / "weights.safetensors", *network)
    model, _ = sr_jax.load(tmp_path)
    assert model == network[0]
    image = noise(12, 16, 3)
    plus = sr_jax.Upscaler(tmp_path / "weights.safetensors", ensemble=True)(image)
    assert (plus != sr_jax.Upscaler(tmp_path)(image)).any()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ([[1, 2], [3, 4]], "a list, expected a NumPy array or a PIL image"),
        (np.zeros((2, 3), object), "an array of object, expected uint8, uint16 or floats"),
        (np.uint8(3), r"shape \(\), expected"),
        (np.zeros((2, 3), np.int32), "an array of int32, expected uint8, uint16 or floats"),
        (np.zeros((2, 3, 5), np.uint8), r"shape \(2, 3, 5\).* C one of 1, 2, 3, 4"),
        (np.zeros((2, 3, 4), np.float32), r"shape \(2, 3, 4\).* C one of 1, 3$"),
        (np.zeros(3, np.uint8), r"shape \(3,\)"),
        (np.zeros((0, 3), np.uint8), r"shape \(0, 3\)"),
        (np.zeros((0, 2, 3, 3), np.uint8), "no images"),
        (np.full((2, 3), 255.0), r"floats from 255 to 255, expected \[0, 1\]"),
        (np.full((2, 3), np.nan), r"floats from nan to nan"),
        (Image.new("CMYK", (2, 3)), "a PIL image of mode CMYK, expected L, LA"),
    ],
)
def test_what_is_no_image_is_refused(upscaler, image, message):
    with pytest.raises(ValueError, match=message):
        upscaler(image)


def test_what_is_no_network_is_refused(network, tmp_path):
    with pytest.raises(ValueError, match="no such weights file or workdir"):
        sr_jax.Upscaler(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="scale is 0, expected a positive number"):
        sr_jax.Upscaler(network, scale=0)
    with pytest.raises(AttributeError, match="no attribute 'upscale_everything'"):
        sr_jax.upscale_everything  # noqa: B018


def test_the_package_is_light_to_import():
    """Neither JAX nor NumPy before they are needed."""
    code = "import sr_jax, sys; print(sorted({'jax', 'numpy', 'tensorflow'} & sys.modules.keys()))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
