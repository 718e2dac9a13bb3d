"""Published figures: some of them, and that all are plausible."""

import pytest

from sr_jax.evaluation.published import DATASETS, figures, published
from sr_jax.models import ARCHITECTURES


@pytest.mark.parametrize(
    ("method", "dataset", "scale", "psnr", "ssim", "round_luma"),
    [
        ("bicubic", "Set5", 2, 33.66, 0.9299, True),
        ("srcnn_955", "Set14", 3, 29.30, 0.8215, True),
        ("srcnn_935", "Set5", 3, 32.65, None, True),
        ("vdsr", "B100", 4, 27.29, 0.7251, True),
        ("vdsr", "Manga109", 2, 37.22, 0.9750, None),
        ("srgan_generator", "Set5", 4, 29.40, 0.8472, None),
        ("edsr", "Urban100", 4, 26.64, 0.8033, True),
        ("edsr+", "Set14", 2, 34.02, 0.9204, True),
        ("edsr_baseline", "Urban100", 3, 28.15, 0.852, None),
        ("rcan+", "Manga109", 8, 25.58, 0.8092, False),
        ("csnln", "Urban100", 4, 27.22, 0.8168, None),
    ],
)
def test_figures(method, dataset, scale, psnr, ssim, round_luma):
    figure = published(method, dataset, scale)
    assert (figure.psnr, figure.ssim, figure.round_luma) == (psnr, ssim, round_luma)
    assert figure.source


@pytest.mark.parametrize("name", ["b100", "B100", "BSD100", "bsds-100"])
def test_names_of_a_set(name):
    assert published("rcan", name, 2).psnr == 32.41


@pytest.mark.parametrize(
    ("method", "dataset", "scale"),
    [("rcan", "Set6", 2), ("rcan", "Set5", 5), ("edsr_baseline+", "Set5", 2), ("no", "Set5", 2)],
)
def test_nothing_is_made_up(method, dataset, scale):
    assert published(method, dataset, scale) is None


def test_all_figures_are_plausible():
    assert len(figures()) > 200
    for (method, dataset, scale), figure in figures().items():
        assert method == "bicubic" or method.removesuffix("+") in ARCHITECTURES
        assert dataset in [name.lower() for name in DATASETS]
        assert scale in (2, 3, 4, 8)
        assert 20 < figure.psnr < 40
        assert figure.ssim is None or 0.5 < figure.ssim < 1
        base = published("bicubic", dataset, scale)
        assert figure.psnr >= base.psnr - 0.85  # SRGAN on B100
        if method.endswith("+"):
            assert figure.psnr > published(method[:-1], dataset, scale).psnr
