"""Scoring protocols against the figures of the papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sr_jax.data.sources import ImagePair, list_folder
from sr_jax.evaluate import mean_scores, score_image, score_images, score_luma_image
from sr_jax.imaging.files import write_image
from sr_jax.imaging.resize import imresize
from sr_jax.models import create_model

# Bicubic on Set5, of the tables in VDSR's and RCAN's papers.
BICUBIC = {2: (33.66, 0.9299), 3: (30.39, 0.8682), 4: (28.42, 0.8104)}


@pytest.mark.parametrize("scale", BICUBIC)
def test_bicubic_on_set5_is_the_published_figure(shared, scale):
    pairs = list_folder(shared("data/benchmarks/Set5"), (scale,))
    scores = score_images("Set5", pairs, scale, "bicubic", None, round_luma=True)
    (mean,) = mean_scores(list(scores))
    psnr, ssim = BICUBIC[scale]
    assert mean["psnr"] == pytest.approx(psnr, abs=0.01)
    assert mean["ssim"] == pytest.approx(ssim, abs=0.0005)


@pytest.mark.slow
def test_bicubic_on_set14_takes_grey_for_luma(shared):
    """Set14's `bridge` is a grey file; by its RGB luma the mean would be 0.09 dB higher."""
    pairs = list_folder(shared("data/benchmarks/Set14"), (2,))
    scores = list(score_images("Set14", pairs, 2, "bicubic", None, round_luma=True))
    assert mean_scores(scores)[0]["psnr"] == pytest.approx(30.23, abs=0.01)


def pair_of(hr: np.ndarray) -> ImagePair:
    return ImagePair("noise", (2,), lambda: hr)


@pytest.fixture
def identity():
    """A luma network that returns the interpolated image that it is given."""
    model = create_model("vdsr", depth=2, n_feats=2)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    return model, jax.tree.map(jnp.zeros_like, variables)


def test_luma_protocol_scores_what_the_network_predicts(identity):
    """float32 on the network's side: equal to 1e-3 dB after rounding to 8 bits."""
    pair = pair_of(np.random.default_rng(0).integers(0, 256, (32, 36, 3), np.uint8))
    bicubic, network = (score_luma_image(pair, 2, n) for n in (None, identity))
    assert network[0] == pytest.approx(bicubic[0], abs=1e-3)
    assert network[1] == pytest.approx(bicubic[1], abs=1e-5)
    (routed,) = score_images("set", [pair], 2, "vdsr", identity, round_luma=True)
    assert (routed.psnr, routed.ssim) == network


def test_luma_network_is_scored_on_its_luma(identity):
    """Without rounding to 8-bit RGB in between, other than bicubic interpolation of 8-bit RGB."""
    pair = pair_of(np.random.default_rng(0).integers(100, 156, (32, 36, 3), np.uint8))
    psnr, _, image = score_image(pair, 2, identity)
    bicubic, _, reference = score_image(pair, 2, None)
    np.testing.assert_array_equal(reference, imresize(pair.lr(2), 2))
    assert np.abs(image.astype(int) - reference).max() <= 1
    assert psnr != bicubic
    assert psnr == pytest.approx(bicubic, abs=0.05)


def test_grey_files_are_told_from_colour(tmp_path):
    grey = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    write_image(tmp_path / "a.png", grey)
    write_image(tmp_path / "b.png", np.repeat(grey[..., None], 3, axis=2))
    a, b = list_folder(tmp_path, (2,))
    np.testing.assert_array_equal(a.hr(), b.hr())
    assert a.is_grey()
    assert not b.is_grey()
