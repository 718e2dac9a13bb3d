"""What a training prints: lines that fit a terminal of 80 columns, 9 of them for the time."""

import logging

import pytest

from sr_jax.training.display import Display

LOGGED = {
    "train/loss": 5.2134,
    "train/psnr": 28.71,
    "train/learning_rate": 1e-3,
    "train/gradient_norm": 7.0,
    "train/parameter_norm": 9.0,
    "speed/images_per_second": 26.31,
    "speed/seconds_per_step": 0.5,
    "speed/data_wait_share": 0.02,
}


@pytest.fixture
def lines(caplog):
    """`lines()`: what was logged."""
    caplog.set_level(logging.INFO, "absl")
    return lambda: [record.getMessage() for record in caplog.records]


def test_an_entry_is_a_line(lines):
    display = Display("edsr", 0, 800, bar=False)
    display.entry(300, LOGGED)
    display.entry(400, LOGGED | {"train/adversarial": 0.693147})
    assert lines() == [
        "300/800 loss 5.21 psnr 28.7 lr 1e-3 26.3 img/s data 2% eta 0:04:10",
        "400/800 loss 5.21 psnr 28.7 lr 1e-3 26.3 img/s data 2% eta 0:03:20 adversarial 0.693",
    ]
    Display("edsr", 0, 1_000_000, bar=False).entry(100_000, LOGGED)
    assert lines()[-1].endswith("eta 125 h")
    assert 9 + len(lines()[-1]) <= 80


def test_validation_is_beside_bicubic(lines):
    display = Display("mdsr", 0, 800, bar=False)
    display.validation(
        0, {"validation/bicubic_psnr_x2": 29.8, "validation/bicubic_ssim_x2": 0.891234}
    )
    scores = {
        "validation/psnr_x2": 31.204,
        "validation/ssim_x2": 0.916,
        "validation/psnr_x3": 28.0,
        "validation/ssim_x3": 0.85,
    }
    display.validation(400, scores, ", the best")
    Display("mdsr", 0, 300_000, bar=False).validation(100_000, scores, ", best 31.80 at 90000")
    assert lines()[:4] == [
        "validation x2: bicubic 29.80 dB",
        "400/800 validation x2: 31.20 dB, bicubic 29.80, the best",
        "400/800 validation x3: 28.00 dB, the best",
        "100000/300000 validation x2: 31.20 dB, best 31.80 at 90000",
    ]
    assert all(9 + len(line) <= 80 for line in lines())
