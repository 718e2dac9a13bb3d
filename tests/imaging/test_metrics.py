"""Published scores, scikit-image, and the definitions written out."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sr_jax.imaging.color import rgb_to_luma
from sr_jax.imaging.files import read_image, to_rgb
from sr_jax.imaging.metrics import psnr, score_luma, shave, ssim
from sr_jax.imaging.resize import imresize

Shared = Callable[[str], Path]


def pair(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 256, shape)
    noisy = np.clip(reference + rng.normal(0, 20, shape), 0, 255)
    return noisy.astype(np.uint8), reference.astype(np.uint8)


def modcrop(image: np.ndarray, scale: int) -> np.ndarray:
    height, width = (side - side % scale for side in image.shape[:2])
    return image[:height, :width]


def bicubic_scores(folder: Path, scale: int) -> np.ndarray:
    """Mean (PSNR, SSIM) of bicubic interpolation by SRCNN's protocol, the source of the figures.

    Luma rounded to 8 bits, down and up without rounding, rounded again, cropped by the scale. Grey
    images (Set14's "bridge") are their own luma there, in 0..255: as equal channels of RGB, in
    16..235, they would raise the mean of Set14 by 0.09 dB.
    """
    scores = []
    for path in sorted(folder.iterdir()):
        image = read_image(path)
        if image.ndim == 3:
            image = np.floor(rgb_to_luma(image / 255.0)[..., 0] * 255 + 0.5)
        luma = modcrop(image, scale).astype(np.float64)
        upscaled = imresize(imresize(luma, 1 / scale), scale)
        upscaled = np.clip(np.floor(upscaled + 0.5), 0, 255)
        images = shave(upscaled, scale), shave(luma, scale)
        scores.append((psnr(*images), ssim(*images)))
    return np.mean(scores, axis=0)


@pytest.mark.parametrize(
    ("scale", "db", "similarity"),
    [(2, 33.66, 0.9299), (3, 30.39, 0.8682), (4, 28.42, 0.8104)],
)
def test_bicubic_on_set5(shared: Shared, scale: int, db: float, similarity: float) -> None:
    """Published figures have two and four decimals."""
    scores = bicubic_scores(shared("data/benchmarks/Set5/HR"), scale)
    assert scores[0] == pytest.approx(db, abs=0.01)
    assert scores[1] == pytest.approx(similarity, abs=0.0005)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "scale", "db"),
    [
        ("Set14", 2, 30.23),
        ("Set14", 3, 27.54),
        ("Set14", 4, 26.00),
        ("B100", 2, 29.56),
        ("B100", 3, 27.21),
        ("B100", 4, 25.96),
    ],
)
def test_bicubic_on_larger_sets(shared: Shared, dataset: str, scale: int, db: float) -> None:
    scores = bicubic_scores(shared(f"data/benchmarks/{dataset}/HR"), scale)
    assert scores[0] == pytest.approx(db, abs=0.01)


@pytest.mark.parametrize(
    ("scale", "db", "similarity"),
    [(2, 38.27, 0.9614), (3, 34.74, 0.9299), (4, 32.63, 0.9002), (8, 27.31, 0.7878)],
)
def test_published_outputs_of_rcan(
    shared: Shared, scale: int, db: float, similarity: float
) -> None:
    """The RCAN paper's table 2 from the images its authors published; half a last decimal."""
    scores = []
    for path in sorted(shared("data/benchmarks/Set5/HR").iterdir()):
        output = shared(f"data/benchmarks/Set5/SR_published/RCAN/X{scale}/{path.name}")
        reference = modcrop(read_image(path), scale)
        scores.append(score_luma(read_image(output), reference, border=scale))
    assert len(scores) == 5
    mean_db, mean_similarity = np.mean(scores, axis=0)
    assert mean_db == pytest.approx(db, abs=0.005)
    assert mean_similarity == pytest.approx(similarity, abs=0.00005)


def test_rounded_luma_lowers_ssim(shared: Shared) -> None:
    path = shared("data/benchmarks/Set5/HR/woman.png")
    reference = modcrop(read_image(path), 2)
    image = imresize(imresize(reference, 1 / 2), 2)
    _, exact = score_luma(image, reference, border=2)
    _, rounded = score_luma(image, reference, border=2, round_luma=True)
    assert 0.0003 < exact - rounded < 0.003


@pytest.mark.parametrize("shape", [(40, 52), (11, 11), (12, 90), (81, 11)])
@pytest.mark.parametrize("peak", [1.0, 255.0])
def test_against_scikit_image(shape: tuple[int, int], peak: float) -> None:
    """Float64 both; scikit-image sums in another order, hence 1e-10.

    It pads and returns the whole map, of which only the middle is free of padding; its window of
    truncate 3.5 sigma is 11 wide, as ours.
    """
    skimage_metrics = pytest.importorskip("skimage.metrics")
    image, reference = (values / 255.0 * peak for values in pair(*shape))
    _, full = skimage_metrics.structural_similarity(
        image,
        reference,
        data_range=peak,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    assert ssim(image, reference, peak=peak) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-10)
    expected = skimage_metrics.peak_signal_noise_ratio(reference, image, data_range=peak)
    assert psnr(image, reference, peak=peak) == pytest.approx(expected, abs=1e-10)


def test_ssim_by_definition() -> None:
    """The formula over each window, with the two-dimensional Gaussian; float64, other order."""
    image, reference = (values.astype(np.float64) for values in pair(14, 13))
    y, x = np.mgrid[-5:6, -5:6]
    window = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for row in range(4):
        for column in range(3):
            a, b = (v[row : row + 11, column : column + 11] for v in (image, reference))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            variance_a = (window * (a - mean_a) ** 2).sum()
            variance_b = (window * (b - mean_b) ** 2).sum()
            covariance = (window * (a - mean_a) * (b - mean_b)).sum()
            values.append(
                (2 * mean_a * mean_b + c1)
                * (2 * covariance + c2)
                / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))
            )
    assert ssim(image, reference) == pytest.approx(np.mean(values), abs=1e-12)


def test_strips_do_not_show() -> None:
    """Taller than several strips: one mean over all places, none twice or left out."""
    image, reference = pair(150, 12)
    places = [ssim(image[row : row + 11], reference[row : row + 11]) for row in range(140)]
    assert ssim(image, reference) == pytest.approx(np.mean(places), abs=1e-12)


def test_identical_images() -> None:
    image, _ = pair(20, 24, 3)
    assert score_luma(image, image, border=2) == (math.inf, pytest.approx(1.0, abs=1e-12))


def test_psnr_of_integers_does_not_wrap() -> None:
    black, white = np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8)
    assert psnr(black, white) == 0
    assert psnr(white, black) == 0


@pytest.mark.parametrize("round_luma", [False, True])
def test_grey_counts_as_equal_channels(round_luma: bool) -> None:
    image, reference = pair(20, 24)
    expected = score_luma(to_rgb(image), to_rgb(reference), border=3, round_luma=round_luma)
    for given in (image, image[..., None], to_rgb(image)):
        assert score_luma(given, reference, border=3, round_luma=round_luma) == expected


def test_shave() -> None:
    image = np.arange(30).reshape(5, 6)
    np.testing.assert_array_equal(shave(image, 2), [[14, 15]])
    np.testing.assert_array_equal(shave(image, 0), image)
    assert shave(image[..., None], 1).shape == (3, 4, 1)


RGB = np.zeros((20, 20, 3), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: psnr(np.zeros((4, 4)), np.zeros((4, 5))), "\\(4, 4\\).*\\(4, 5\\)"),
        (lambda: psnr(np.zeros((0, 4)), np.zeros((0, 4))), "no pixels"),
        (lambda: psnr(RGB, RGB, peak=0), "peak is 0"),
        (lambda: ssim(np.zeros((20, 20)), np.zeros((20, 21))), "expected the same"),
        (lambda: ssim(RGB, RGB), "one channel"),
        (lambda: ssim(np.zeros((10, 20)), np.zeros((10, 20))), "10 x 20.*11 x 11"),
        (lambda: shave(RGB, 10), "cannot cut 10 pixels.*longer than 20"),
        (lambda: shave(RGB, -1), "at least 0"),
        (lambda: shave(np.zeros(9), 1), "expected \\(H, W\\)"),
        (lambda: score_luma(RGB, RGB[:18], border=2), "multiple of the scale"),
        (lambda: score_luma(RGB, RGB, border=5), "10 x 10.*smaller border"),
        (lambda: score_luma(RGB / 255.0, RGB, border=2), "image has dtype float64"),
        (lambda: score_luma(RGB, RGB[..., :2], border=2), "reference has shape.*to_rgb"),
    ],
)
def test_bad_calls(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
