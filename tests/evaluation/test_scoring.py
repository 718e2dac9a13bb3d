"""Scoring protocols against the figures of the papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sr_jax.data.sources import ImagePair, list_folder
from sr_jax.evaluation.published import published
from sr_jax.evaluation.scoring import (
    BICUBIC,
    Score,
    list_contenders,
    mean_distance,
    mean_scores,
    score_all,
    score_image,
)
from sr_jax.imaging.color import rgb_to_luma
from sr_jax.imaging.files import from_float, to_float, write_image
from sr_jax.imaging.metrics import psnr as compute_psnr
from sr_jax.imaging.metrics import shave
from sr_jax.imaging.resize import imresize
from sr_jax.inference.settings import Settings
from sr_jax.models import create_model
from sr_jax.weights import variable_shapes


def bicubic_means(folder, scale):
    pairs = list_folder(folder, (scale,))
    results = score_all({folder.name: pairs}, [scale], [BICUBIC], round_luma=True)
    (mean,) = mean_scores(score for *_, (score, _) in results)
    return mean


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_on_set5_is_the_published_figure(shared, scale):
    mean = bicubic_means(shared("data/benchmarks/Set5"), scale)
    figure = published("bicubic", "Set5", scale)
    assert mean["psnr"] == pytest.approx(figure.psnr, abs=0.01)
    assert mean["ssim"] == pytest.approx(figure.ssim, abs=0.0005)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_on_b100_is_the_published_figure(shared, scale):
    mean = bicubic_means(shared("data/benchmarks/B100"), scale)
    figure = published("bicubic", "B100", scale)
    assert mean["psnr"] == pytest.approx(figure.psnr, abs=0.01)
    assert mean["ssim"] == pytest.approx(figure.ssim, abs=0.0005)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_on_set14_takes_grey_for_luma(shared, scale):
    """Set14's `bridge` is a grey file; by its RGB luma the mean would be 0.09 dB higher.

    The published SSIM of this set is up to 0.0008 higher than ours; see experiments/published.
    """
    mean = bicubic_means(shared("data/benchmarks/Set14"), scale)
    figure = published("bicubic", "Set14", scale)
    assert mean["psnr"] == pytest.approx(figure.psnr, abs=0.01)
    assert mean["ssim"] == pytest.approx(figure.ssim, abs=0.001)


def noise(height, width, low=0, high=256):
    return np.random.default_rng(0).integers(low, high, (height, width, 3), np.uint8)


def pair_of(hr: np.ndarray) -> ImagePair:
    return ImagePair("noise", (2,), lambda: hr)


@pytest.fixture(scope="module")
def identity():
    """A luma network that returns the interpolated image that it is given."""
    model = create_model("vdsr", depth=2, n_feats=2)
    return model, jax.tree.map(lambda x: jnp.zeros(x.shape), variable_shapes(model))


def test_luma_protocol_scores_what_the_network_predicts(identity):
    """float32 on the network's side: equal to 1e-3 dB after rounding to 8 bits."""
    pair = pair_of(noise(32, 36))
    bicubic, network = (score_image(pair, 2, n, round_luma=True) for n in (None, identity))
    assert network[0] == pytest.approx(bicubic[0], abs=1e-3)
    assert network[1] == pytest.approx(bicubic[1], abs=1e-5)
    assert network[0] != score_image(pair, 2, identity)[0]


def test_luma_protocol_returns_the_image_that_it_scores(identity):
    """In 8-bit RGB, whose luma is within a level of the one scored: 0.1 dB of noise's 20 dB."""
    hr = noise(32, 36)
    for network in (None, identity):
        psnr, _, image = score_image(pair_of(hr), 2, network, round_luma=True)
        assert image.dtype == np.uint8
        lumas = (shave(rgb_to_luma(to_float(x, np.float64))[..., 0] * 255, 2) for x in (image, hr))
        assert compute_psnr(*lumas) == pytest.approx(psnr, abs=0.1)


def test_luma_protocol_returns_grey_for_grey(tmp_path):
    grey = noise(16, 18)[..., 0]
    write_image(tmp_path / "a.png", grey)
    (pair,) = list_folder(tmp_path, (2,))
    _, _, image = score_image(pair, 2, None, round_luma=True)
    half = imresize(to_float(grey, np.float64), size=(8, 9))
    expected = from_float(imresize(half, size=(16, 18)))
    np.testing.assert_array_equal(image, np.repeat(expected[..., None], 3, axis=2))


def test_luma_network_is_scored_on_its_luma(identity):
    """Without rounding to 8-bit RGB in between, other than bicubic interpolation of 8-bit RGB."""
    pair = pair_of(noise(32, 36, low=100, high=156))
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


@pytest.fixture(scope="module")
def network():
    """A colour network of random weights."""
    model, rng = create_model("edsr_baseline", n_resblocks=1, n_feats=4), np.random.default_rng(0)
    return model, jax.tree.map(lambda x: 0.3 * rng.standard_normal(x.shape), variable_shapes(model))


def test_contenders_run_in_order_over_sets_scales_and_images(network):
    datasets = {name: [pair_of(noise(26, 26)), pair_of(noise(28, 26))] for name in "ab"}
    contenders = list_contenders(network, ensemble=True)
    results = list(score_all(datasets, [2], contenders))
    assert [(key.dataset, key.method) for key, *_ in results] == [
        (dataset, method)
        for dataset in "ab"
        for method in ("bicubic", "edsr", "edsr+")
        for _ in range(2)
    ]
    for key, pair, (score, image) in results:
        assert score[:4] == key
        assert image.shape == pair.hr(2).shape
        assert score.lpips is None


def test_ensemble_is_the_mean_over_symmetries(network):
    """A mirrored image gives the mirrored result, which it does not give the bare network."""
    hr = noise(26, 30)
    pairs = [pair_of(hr), pair_of(np.ascontiguousarray(hr[:, ::-1]))]
    results = list(score_all({"set": pairs}, [2], list_contenders(network, ensemble=True)))
    difference = {}
    for method in ("edsr", "edsr+"):
        one, mirrored = (r[1].astype(int) for key, _, r in results if key.method == method)
        difference[method] = np.abs(one[:, ::-1] - mirrored).max()
    assert difference["edsr+"] <= 1  # float32 sums in another order, next to a half
    assert difference["edsr"] > 10


def test_settings_reach_the_network(network):
    """Tiles without overlap change the result, those with the receptive radius do not."""
    pair = pair_of(noise(60, 60))
    whole, cut, exact = (
        score_image(pair, 2, network, settings=settings)[2].astype(int)
        for settings in (
            Settings(),
            Settings(tile=16, overlap=0),
            Settings(tile=20, overlap="exact"),
        )
    )
    assert np.abs(cut - whole).max() > 0
    assert np.abs(exact - whole).max() <= 1  # float32, next to a half


def test_only_networks_of_the_published_size_are_compared(network):
    assert [c.known_as for c in list_contenders(network, ensemble=True)] == ["bicubic", None, None]
    named = list_contenders(network, name="rcan", ensemble=True)
    assert [(c.method, c.known_as) for c in named[1:]] == [("rcan", "rcan"), ("rcan+", "rcan+")]
    model = create_model("edsr", scale=4, rgb_range=1.0)
    assert list_contenders((model, {}))[1].known_as == "edsr"
    assert list_contenders((create_model("rcan", n_resgroups=2), {}))[1].known_as is None


@pytest.mark.parametrize("name", ["", " ", "..", "a/b", "bicubic"])
def test_names_that_cannot_be_rows_are_refused(network, name):
    with pytest.raises(ValueError, match="expected one that a folder can have"):
        list_contenders(network, name=name)


def test_a_mean_distance_needs_all():
    scores = [
        Score("set", 2, "m", name, 30.0, 0.9, lpips)
        for name, lpips in zip("ab", (0.1, 0.3), strict=True)
    ]
    assert mean_distance(scores, "lpips") == pytest.approx(0.2)
    assert mean_distance([scores[0], scores[1]._replace(lpips=None)], "lpips") is None
