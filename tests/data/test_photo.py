"""Degraded as photographs are: against libjpeg, and the same for the same seed, step and row."""

import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from sr_jax.data import photo, sources
from sr_jax.imaging.resize import imresize

PHOTO = sources.load("photos", "train")[0].hr()[:90, :131]


@functools.partial(jax.jit, static_argnames="halved")
def jpeg(image, quality, halved=True, offset=(0, 0)):
    return 255 * photo.jpeg(image, quality, halved, offset)


def as_floats(image):
    return jnp.asarray(image, jnp.float32) / 255


@pytest.mark.parametrize("halved", [True, False])
@pytest.mark.parametrize("quality", [5, 30, 75, 95])
def test_jpeg_is_that_of_libjpeg(quality, halved):
    """libjpeg computes in integers, so that a coefficient may be rounded the other way: levels
    differ by less than 0.8 on average, where the file itself is off by more than the difference."""
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, "JPEG", quality=quality, subsampling=2 if halved else 0)
    expected = np.asarray(Image.open(file)).astype(float)
    found = np.asarray(jpeg(as_floats(PHOTO), quality, halved))
    assert np.abs(found - expected).mean() < min(0.8, np.abs(expected - PHOTO).mean() / 2)
    assert np.abs(found - expected).max() < np.abs(expected - PHOTO).max()


def test_jpeg_of_grey_is_that_of_libjpeg():
    """Mean difference in levels, see above."""
    grey = PHOTO[..., 1]
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=60)
    found = np.asarray(jpeg(as_floats(grey[..., None]), 60))[..., 0]
    assert np.abs(found - np.asarray(Image.open(file)).astype(float)).mean() < 0.3


def test_blocks_begin_where_the_patch_was_cut():
    """A patch whose blocks begin 3 rows and 13 columns before it, against that part of the whole.

    Where blocks lie in the patch they are the same, but for the order of float32 sums (1 level).
    """
    whole = np.asarray(jpeg(as_floats(PHOTO), 50, halved=False))
    patch = np.asarray(jpeg(as_floats(PHOTO[19:80, 13:90]), 50, halved=False, offset=(3, 13)))
    inner = np.s_[5:-8, 3:-10]
    np.testing.assert_allclose(patch[inner], whole[19:80, 13:90][inner], atol=1)
    assert (patch[inner] == whole[19:80, 13:90][inner]).mean() > 0.99


def test_blur_is_a_gaussian():
    """By the standard deviation of a blurred impulse; 0 changes nothing.

    Sampled at whole pixels a narrow Gaussian has another deviation than the continuous one: 2 %.
    """
    impulse = jnp.zeros((21, 21, 1)).at[10, 10].set(1.0)
    places = jnp.arange(21) - 10
    for sigma in (0.6, 1.0):
        row = photo.blur(impulse, sigma).sum(0)[:, 0]
        assert row.sum() == pytest.approx(1, rel=1e-5)
        assert jnp.sqrt((row * places**2).sum()) == pytest.approx(sigma, rel=0.02)
    np.testing.assert_array_equal(photo.blur(impulse, 0.0), impulse)


@pytest.mark.parametrize("channels", [1, 3])
def test_degraded_images_are_of_8_bits_and_of_many_kinds(channels):
    image = as_floats(imresize(PHOTO, size=(24, 32))[..., :channels])
    degrade = jax.jit(photo.degrade)
    results = [np.asarray(degrade(image, key)) for key in jax.random.split(jax.random.key(1), 40)]
    levels = 255 * np.stack(results)
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)  # float32
    assert levels.min() >= 0
    assert levels.max() <= 255
    errors = np.abs(np.stack(results) - image).mean((1, 2, 3))
    assert errors.min() < errors.max() / 3
    assert 0.003 < np.median(errors) < 0.1
    np.testing.assert_array_equal(
        degrade(image, jax.random.split(jax.random.key(1), 40)[7]), results[7]
    )


def test_the_order_differs():
    """JPEG last leaves whole blocks of one value in a flat image; noise last does not."""
    flat = jnp.full((32, 32, 3), 0.5)
    keys = jax.random.split(jax.random.key(2), 40)
    distinct = [len(np.unique(photo.degrade(flat, key))) for key in keys]
    assert min(distinct) <= 8
    assert max(distinct) > 20


def test_validation_images_are_degraded_each_time_alike():
    pairs = sources.load("photos", "validation", scales=(2, 4))[:2]
    degraded = photo.degraded(pairs, seed=3)
    for pair, other in zip(pairs, degraded, strict=True):
        (lr, hr), (worse, same) = pair.pair(4), other.pair(4)
        np.testing.assert_array_equal(hr, same)
        assert worse.dtype == np.uint8
        assert worse.shape == lr.shape
        assert 0.5 < np.abs(worse.astype(float) - lr).mean() < 25
        np.testing.assert_array_equal(other.pair(4)[0], worse)
    again = photo.degraded(pairs, seed=4)[0].pair(4)[0]
    assert (again != degraded[0].pair(4)[0]).any()
