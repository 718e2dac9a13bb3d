"""MATLAB's published low-resolution images, and the double-precision protocol of SRCNN and VDSR."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sr_jax.data.degradation import downscale, modcrop
from sr_jax.data.patches import network_pair
from sr_jax.data.sources import ImagePair
from sr_jax.imaging.color import rgb_to_luma
from sr_jax.imaging.files import read_image, to_rgb
from sr_jax.imaging.resize import imresize

Shared = Callable[[str], Path]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_modcrop_keeps_the_top_left() -> None:
    image = noise(11, 10)
    np.testing.assert_array_equal(modcrop(image, 4), image[:8, :8])
    np.testing.assert_array_equal(modcrop(image[..., 0], 3), image[:9, :9, 0])
    assert modcrop(image, 1).shape == image.shape


@pytest.mark.parametrize(
    ("scale", "message"), [(0, "positive"), (-2, "positive"), (1.5, "positive"), (12, "too small")]
)
def test_modcrop_refuses(scale: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        modcrop(noise(11, 20), scale)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_downscale_is_imresize_of_the_cropped_image(scale: int) -> None:
    image = noise(53, 61)
    lr = downscale(image, scale)
    assert lr.dtype == np.uint8
    assert lr.shape == (53 // scale, 61 // scale, 3)
    np.testing.assert_array_equal(lr, imresize(modcrop(image, scale), 1 / scale))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_downscale_equals_matlab_on_set5(shared: Shared, scale: int) -> None:
    set5 = shared("data/benchmarks/Set5")
    for path in sorted((set5 / "HR").iterdir()):
        lr = read_image(set5 / f"LR_bicubic/X{scale}" / f"{path.stem}x{scale}.png")
        np.testing.assert_array_equal(downscale(to_rgb(read_image(path)), scale), to_rgb(lr))


def pair_of(hr: np.ndarray, lr: np.ndarray | None = None, scale: int = 2) -> ImagePair:
    return ImagePair("image", (scale,), lambda: hr, {} if lr is None else {scale: lambda: lr})


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_interpolated_luma_equals_matlab_in_double(shared: Shared, scale: int) -> None:
    """MATLAB's own Y, down and up again; nothing but float32 lies between."""
    io = pytest.importorskip("scipy.io")
    set5 = shared("data/benchmarks/Set5")
    published = io.loadmat(set5 / f"matlab_float64/butterfly_GT_x{scale}.mat")
    height, width = published["im_gt_y"].shape  # x4 was cropped for x3 before
    image = pair_of(to_rgb(read_image(set5 / "HR/butterfly.png"))[:height, :width], scale=scale)
    blurred, target = network_pair(image, scale, n_colors=1, interpolated=True)
    np.testing.assert_allclose(target[..., 0], published["im_gt_y"] / 255, atol=1e-7)
    np.testing.assert_allclose(blurred[..., 0], published["im_b_y"] / 255, atol=1e-7)


def test_rgb_is_left_as_it_was_read() -> None:
    image = pair_of(noise(25, 33))
    lr, hr = network_pair(image, 2)
    assert lr.dtype == hr.dtype == np.uint8
    np.testing.assert_array_equal(hr, image.hr(2))
    np.testing.assert_array_equal(lr, image.lr(2))


def test_luma_of_both_images() -> None:
    image = pair_of(noise(25, 33))
    for made, read in zip(network_pair(image, 2, n_colors=1), image.pair(2), strict=True):
        assert made.dtype == np.float32
        np.testing.assert_array_equal(made, rgb_to_luma(read / 255.0).astype(np.float32))
        assert made.min() >= 16 / 255 - 1e-6
        assert made.max() <= 235 / 255 + 1e-6


@pytest.mark.parametrize("n_colors", [1, 3])
@pytest.mark.parametrize("scale", [2, 3])
def test_interpolated_images_are_rounded_nowhere(scale: int, n_colors: int) -> None:
    hr = noise(25, 32)
    blurred, target = network_pair(pair_of(hr, scale=scale), scale, n_colors, interpolated=True)
    height, width = 25 - 25 % scale, 32 - 32 % scale
    assert blurred.shape == target.shape == (height, width, n_colors)
    assert blurred.dtype == target.dtype == np.float32
    exact = hr[:height, :width] / 255.0
    exact = rgb_to_luma(exact) if n_colors == 1 else exact
    np.testing.assert_array_equal(target, exact.astype(np.float32))
    up = imresize(imresize(exact, 1 / scale), scale)
    np.testing.assert_array_equal(blurred, up.astype(np.float32))


def test_an_lr_image_of_the_data_set_is_interpolated() -> None:
    lr = noise(12, 16)[::-1]
    blurred, _ = network_pair(pair_of(noise(24, 32), lr), 2, interpolated=True)
    np.testing.assert_array_equal(blurred, imresize(lr / 255.0, 2).astype(np.float32))


def test_network_pair_refuses() -> None:
    with pytest.raises(ValueError, match="n_colors is 4"):
        network_pair(pair_of(noise(8, 8)), 2, n_colors=4)
    for interpolated in (False, True):
        with pytest.raises(ValueError, match="not x3"):
            network_pair(pair_of(noise(8, 8)), 3, interpolated=interpolated)
