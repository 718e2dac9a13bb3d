"""PSNR and SSIM as super-resolution papers report them, in float64.

The protocol (Y channel, cropped border, MATLAB's rgb2ycbcr) is that of the evaluation scripts of
EDSR and RCAN; `score_luma` is all of it for one pair of images.
"""

import math

import numpy as np

from sr_jax.imaging.color import rgb_to_luma

_WINDOW = 11
_SIGMA = 1.5
_K1, _K2 = 0.01, 0.03

# Rows of the SSIM map computed at a time: the working set then stays in the CPU's cache.
_STRIP = 32


def psnr(image: np.ndarray, reference: np.ndarray, *, peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio, 10 log10(peak^2 / mean squared error).

    >>> psnr(np.zeros((4, 4)), np.full((4, 4), 25.5))
    20.0

    Args:
        image: any shape, integers or floats.
        reference: same shape and range.
        peak: the largest value there can be, in the units of the images.

    Returns:
        Decibels; infinity if the images are identical.

    Raises:
        ValueError: if the shapes differ, there are no pixels, or `peak` is not positive.
    """
    image, reference = _comparable(image, reference, peak)
    if image.size == 0:
        raise ValueError(f"images of shape {image.shape} have no pixels to compare")
    error = float(np.mean(np.square(image - reference)))
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def ssim(image: np.ndarray, reference: np.ndarray, *, peak: float = 255.0) -> float:
    """Structural similarity (Wang et al. 2004, "Image quality assessment", eq. 13, 14, 17).

    Gaussian window of 11 x 11 with sigma 1.5, K = (0.01, 0.03), no padding: the mean of the map at
    the places where the window fits wholly, as in the authors' `ssim_index.m` without its
    later downsampling.

    Args:
        image: one channel, shape (H, W) or (H, W, 1), integers or floats; both sides at least 11.
        reference: same shape and range.
        peak: the largest value there can be (L in the paper), in the units of the images.

    Returns:
        At most 1, which identical images have.

    Raises:
        ValueError: if the shapes differ, are none of the above, or `peak` is not positive.
    """
    image, reference = _comparable(image, reference, peak)
    if image.ndim == 3 and image.shape[2] == 1:
        image, reference = image[..., 0], reference[..., 0]
    if image.ndim != 2:
        raise ValueError(
            f"ssim got images of shape {image.shape}, expected one channel, (H, W) or (H, W, 1): "
            "compare the luma, or channel by channel"
        )
    if min(image.shape) < _WINDOW:
        raise ValueError(
            f"ssim got images of {image.shape[0]} x {image.shape[1]} pixels, expected at least "
            f"{_WINDOW} x {_WINDOW}, the size of its window: use larger images or a smaller border"
        )
    rows = image.shape[0] - _WINDOW + 1
    total = 0.0
    for start in range(0, rows, _STRIP):
        strip = slice(start, min(start + _STRIP, rows) + _WINDOW - 1)
        total += float(_ssim_map(image[strip], reference[strip], peak).sum())
    return total / (rows * (image.shape[1] - _WINDOW + 1))


def shave(image: np.ndarray, border: int) -> np.ndarray:
    """Cuts `border` pixels off each side.

    Args:
        image: shape (H, W) or (H, W, C).
        border: pixels, at least 0; benchmarks use the scale.

    Returns:
        A view of shape (H - 2 border, W - 2 border[, C]).

    Raises:
        ValueError: if `border` is negative or leaves nothing, or the shape is another one.
    """
    if image.ndim not in (2, 3):
        raise ValueError(f"image has shape {image.shape}, expected (H, W) or (H, W, C)")
    height, width = image.shape[:2]
    if border < 0 or min(height, width) <= 2 * border:
        raise ValueError(
            f"cannot cut {border} pixels off each side of an image of {height} x {width}: "
            f"the border must be at least 0 and both sides longer than {2 * max(border, 0)}"
        )
    return image[border : height - border, border : width - border]


def score_luma(
    image: np.ndarray, reference: np.ndarray, *, border: int, round_luma: bool = False
) -> tuple[float, float]:
    """PSNR and SSIM on the luma of two 8-bit images, the score of the benchmark tables.

    RCAN, SAN and CSNLN leave Y un-rounded (the default); the tables of SRCNN, VDSR and EDSR round
    it to integers, which lowers SSIM by about 0.001.

    Args:
        image: uint8 RGB of shape (H, W, 3), or grey of shape (H, W) or (H, W, 1), which counts as
            RGB with three equal channels.
        reference: uint8 of the same height and width, RGB or grey.
        border: pixels cut off each side before comparing; benchmarks use the scale.
        round_luma: round Y (16..235) to integers first, as MATLAB's rgb2ycbcr of uint8 does.

    Returns:
        PSNR in decibels (infinity if the lumas are identical) and SSIM.

    Raises:
        ValueError: if a dtype or shape is none of the above, the sizes differ, or less than 11 x 11
            pixels remain.
    """
    if image.shape[:2] != reference.shape[:2]:
        raise ValueError(
            f"image is {image.shape[:2]}, reference is {reference.shape[:2]}, expected the same "
            "height and width: crop the reference to a multiple of the scale"
        )
    luma, luma_reference = (
        shave(_luma(pixels, name, round_luma), border)
        for pixels, name in ((image, "image"), (reference, "reference"))
    )
    return psnr(luma, luma_reference), ssim(luma, luma_reference)


def _luma(image: np.ndarray, name: str, round_luma: bool) -> np.ndarray:
    """Y in 16..235 of a uint8 image, float64 of shape (H, W)."""
    if image.dtype != np.uint8:
        raise ValueError(f"{name} has dtype {image.dtype}, expected uint8: convert it first")
    grey = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1)
    if not grey and (image.ndim != 3 or image.shape[2] != 3):
        raise ValueError(
            f"{name} has shape {image.shape}, expected (H, W, 3), (H, W) or (H, W, 1): "
            "convert with sr_jax.imaging.files.to_rgb"
        )
    rgb = image.reshape(*image.shape[:2], -1) / 255.0
    if grey:
        rgb = np.repeat(rgb, 3, axis=2)
    luma = rgb_to_luma(rgb)[..., 0] * 255.0
    return np.floor(luma + 0.5) if round_luma else luma


def _comparable(
    image: np.ndarray, reference: np.ndarray, peak: float
) -> tuple[np.ndarray, np.ndarray]:
    image, reference = np.asarray(image, np.float64), np.asarray(reference, np.float64)
    if image.shape != reference.shape:
        raise ValueError(
            f"image has shape {image.shape}, reference {reference.shape}, expected the same: "
            "crop or resize one of them"
        )
    if not peak > 0:
        raise ValueError(f"peak is {peak}, expected a positive number, such as 255 or 1")
    return image, reference


def _ssim_map(x: np.ndarray, y: np.ndarray, peak: float) -> np.ndarray:
    c1, c2 = (_K1 * peak) ** 2, (_K2 * peak) ** 2
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = _blur(np.stack([x, y, x * x, y * y, x * y]))
    product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    covariance, variances = mean_xy - product, mean_xx + mean_yy - squares
    return ((2 * product + c1) * (2 * covariance + c2)) / ((squares + c1) * (variances + c2))


def _blur(images: np.ndarray) -> np.ndarray:
    """Gaussian-weighted means over windows that fit wholly, along the last two axes."""
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    window = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    window /= window.sum()
    height, width = images.shape[-2] - _WINDOW + 1, images.shape[-1] - _WINDOW + 1
    down = sum(w * images[..., k : k + height, :] for k, w in enumerate(window))
    return sum(w * down[..., k : k + width] for k, w in enumerate(window))
