"""Images of every layout through a network: alpha, size, dtype, errors."""

import jax
import numpy as np
import pytest

from sr_jax.imaging.files import from_float, to_float
from sr_jax.imaging.resize import imresize
from sr_jax.inference.settings import Settings
from sr_jax.inference.upscaler import run_network, upscale_image, upscale_rgb


@pytest.fixture
def bicubic(network):
    """A network that returns the interpolated image: what it does is known."""
    model, variables = network("vdsr", depth=2, n_feats=2, n_colors=3)
    variables = jax.tree.map(np.zeros_like, variables)
    variables["constants"] = jax.tree.map(np.zeros_like, variables["constants"])
    for name in ("sub_mean", "add_mean"):
        variables["constants"][name]["kernel"] = np.eye(3, dtype=np.float32)[None, None]
    return model, variables


def integers(shape, dtype=np.uint8):
    high = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, high, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [None, 2, 3, 4])
@pytest.mark.parametrize("alpha", ["bicubic", "network"])
def test_every_layout_and_depth_stays(bicubic, channels, dtype, alpha):
    """Half opaque at least: no colour is hidden. Of 16 bits the last is float32's rounding."""
    image = integers((9, 12) if channels is None else (9, 12, channels), dtype)
    if channels in (2, 4):
        image[..., -1] |= np.iinfo(dtype).max // 2 + 1
    result = upscale_image(*bicubic, image, 2, alpha=alpha)
    expected = from_float(imresize(to_float(image, np.float64), 2), dtype)
    if channels in (2, 4) and alpha == "bicubic":  # as MATLAB resizes integers
        expected[..., -1] = imresize(image[..., -1], 2)
    assert (result.shape, result.dtype) == (expected.shape, expected.dtype)
    difference = np.abs(result.astype(int) - expected)
    assert difference.max() <= 1
    assert difference.mean() < 0.1


def test_the_colour_under_transparent_pixels_does_not_show(bicubic):
    """A red disc on nothing, stored as green: no green creeps into the disc's rim."""
    rows, columns = np.mgrid[:20, :20]
    disc = (rows - 9) ** 2 + (columns - 9) ** 2 < 40
    image = np.zeros((20, 20, 4), np.uint8)
    image[disc] = (200, 10, 10, 255)
    image[~disc] = (0, 255, 0, 0)
    result = upscale_image(*bicubic, image, 3)
    assert (result[result[..., 3] > 0][:, :3] == (200, 10, 10)).all()


@pytest.mark.parametrize("hidden", [0, 1, 8])
def test_no_dark_ring_at_low_opacity(bicubic, hidden):
    """A light disc amid nearly nothing, stored as black there: on white it stays a light disc."""
    rows, columns = np.mgrid[:20, :20]
    opacity = np.clip(8 - np.hypot(rows - 9.5, columns - 9.5), 0, 1)
    image = np.full((20, 20, 4), 220, np.uint8)
    image[..., 3] = np.maximum(255 * opacity, hidden)
    reference = on_white(upscale_image(*bicubic, image, 2))
    image[opacity == 0, :3] = 0
    difference = reference - on_white(upscale_image(*bicubic, image, 2))
    assert difference.max() < hidden + 1


def on_white(image):
    opacity = image[..., 3:] / 255
    return opacity * image[..., :3] + (1 - opacity) * 255


def test_grey_stays_grey_in_rgb(network):
    """A black-and-white photograph in an RGB file, of which a network makes coloured edges."""
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=4)
    image = np.repeat(integers((7, 8, 1)), 3, axis=-1)
    result = upscale_image(model, variables, image, 2)
    grey = upscale_image(model, variables, image[..., 0], 2)
    np.testing.assert_array_equal(result, np.repeat(grey[..., None], 3, axis=-1))
    opacity = np.full((7, 8, 1), 255, np.uint8)
    opacity[3, 3] = 0
    hidden = np.concatenate([image, opacity], axis=-1)
    hidden[3, 3, 2] ^= 128  # a colour that nobody sees
    result = upscale_image(model, variables, hidden, 2)
    assert (result[..., 0] == result[..., 2]).all()
    image[3, 3, 2] ^= 128
    result = upscale_image(model, variables, image, 2)
    assert (result[..., 0] != result[..., 2]).any()


def test_alpha_of_nothing_visible_is_left_alone(bicubic):
    image = integers((5, 6, 4))
    image[..., 3] = 0
    result = upscale_image(*bicubic, image, 2)
    opaque = upscale_image(*bicubic, image[..., :3].copy(), 2)
    np.testing.assert_array_equal(result[..., :3], opaque)


def test_alpha_through_the_network(network):
    """Alpha alone is the grey image that it would be as a file."""
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=4)
    image = integers((7, 8, 2))
    result = upscale_image(model, variables, image, 2, alpha="network")
    np.testing.assert_array_equal(result[..., 1], upscale_image(model, variables, image[..., 1], 2))
    with pytest.raises(ValueError, match="alpha is 'none'; known are 'bicubic' and 'network'"):
        upscale_image(model, variables, image, 2, alpha="none")


def test_a_final_size_is_reached_on_floats(network):
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=4)
    image = integers((10, 12, 4))
    result = upscale_image(model, variables, image, 2, size=(15, 17))
    assert result.shape == (15, 17, 4)
    image[..., 3] = 255
    opaque = upscale_image(model, variables, image, 2, size=(15, 17))
    colour = upscale_rgb(model, variables, to_float(image[..., :3]), 2)
    np.testing.assert_array_equal(opaque[..., :3], from_float(imresize(colour, size=(15, 17))))


def test_float64_is_float64(network, photo):
    """Without x64 mode being on: what float32 cannot tell apart is told apart."""
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=4)
    image = photo(6, 7)
    double = Settings(dtype="float64")
    change = run_network(model, variables, image + 1e-12, 2, double)
    change = change - run_network(model, variables, image, 2, double)
    assert change.dtype == np.float64
    assert 1e-14 < np.abs(change).max() < 1e-10


def test_an_output_that_is_not_a_number_is_an_error(network):
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=4)
    variables = jax.tree.map(lambda leaf: leaf * np.nan, variables)
    for settings in (Settings(), Settings(tile=4), Settings(ensemble=True)):
        with pytest.raises(ValueError, match=r"NaN.*network's output is broken"):
            upscale_image(model, variables, integers((6, 7, 3)), 2, settings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": "automatic"}, "tile is 'automatic'"),
        ({"tile": 0}, "tile is 0"),
        ({"overlap": "all"}, "overlap is 'all'"),
        ({"overlap": -1}, "overlap is -1"),
        ({"dtype": "float16"}, "dtype is 'float16'; known are float32, bfloat16, float64"),
        ({"batch": 0}, "batch is 0"),
    ],
)
def test_settings_refuse_what_they_do_not_know(options, message):
    with pytest.raises(ValueError, match=message):
        Settings(**options)
