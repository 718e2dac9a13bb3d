"""From high to low resolution: the bicubic degradation of every paper implemented here.

"Bicubic" means MATLAB's ``imresize`` (antialiased Keys cubic, borders mirrored), which made the
low-resolution images of DIV2K and of all published benchmark tables; see
:mod:`sr_jax.imaging.resize`.
"""

from typing import TYPE_CHECKING

import numpy as np

from sr_jax.imaging.color import rgb_to_luma
from sr_jax.imaging.files import to_float
from sr_jax.imaging.resize import imresize

if TYPE_CHECKING:
    from sr_jax.data.sources import ImagePair  # which imports this module


def modcrop(image: np.ndarray, scale: int) -> np.ndarray:
    """Crops the bottom and the right so that both sides are multiples of ``scale``.

    Args:
      image: ``(H, W)`` or ``(H, W, C)``, any dtype.
      scale: a positive integer.

    Returns:
      A view of ``image``, ``(H - H % scale, W - W % scale[, C])``.

    Raises:
      ValueError: if ``scale`` is not a positive integer, or a side is shorter than ``scale``.

    >>> modcrop(np.zeros((7, 9, 3)), 4).shape
    (4, 8, 3)
    """
    if not isinstance(scale, int) or scale < 1:
        raise ValueError(f"the scale must be a positive integer, got {scale}")
    height, width = image.shape[:2]
    if min(height, width) < scale:
        raise ValueError(f"an image of {height}x{width} pixels is too small for x{scale}")
    return image[: height - height % scale, : width - width % scale]


def downscale(hr: np.ndarray, scale: int) -> np.ndarray:
    """Reduces an image by an integer factor as MATLAB's ``imresize(modcrop(hr), 1/scale)`` does.

    Args:
      hr: ``(H, W)`` or ``(H, W, C)``. uint8 is rounded after each pass, as in MATLAB; floats are
        not rounded at all.
      scale: a positive integer.

    Returns:
      ``(H // scale, W // scale[, C])`` of the same dtype and value range.

    Raises:
      ValueError: as :func:`modcrop`.

    >>> downscale(np.full((9, 6, 3), 7, np.uint8), 2).shape
    (4, 3, 3)
    """
    hr = modcrop(hr, scale)
    return imresize(hr, size=(hr.shape[0] // scale, hr.shape[1] // scale))


def network_pair(
    image: "ImagePair", scale: int, n_colors: int = 3, interpolated: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Reads an image as the input and the target of a network.

    For networks that take an interpolated image, the input is made from the HR image by the
    protocol of SRCNN and VDSR: RGB/255 -> luma -> bicubic down -> bicubic up, all in double
    precision and nowhere rounded to 8 bit (``generate_test_mat.m`` of twtygqyy/pytorch-vdsr). An
    LR image that the data set brings is used instead where there is one, and interpolated.

    Args:
      image: where the images are read from.
      scale: one of ``image.scales``.
      n_colors: 3 for RGB, or 1 for BT.601 luma.
      interpolated: whether the network takes an image interpolated to the output grid.

    Returns:
      ``(input, target)`` of shapes ``(h, w, n_colors)`` and ``(scale * h, scale * w, n_colors)``,
      or both the latter if ``interpolated``. RGB that is not interpolated is uint8 as it was read;
      everything else is float32, in [0, 1] (RGB) or [16/255, 235/255] (luma), which an
      interpolated input may overshoot a little.

    Raises:
      ValueError: if ``n_colors`` is neither 1 nor 3; otherwise as ``ImagePair.pair``.
    """
    if n_colors not in (1, 3):
        raise ValueError(f"n_colors is {n_colors}, expected 3 (RGB) or 1 (luma)")
    if interpolated and scale in image.scales and scale not in image.read_lr:
        target = _in_double(image.hr(scale), n_colors)
        lr = downscale(target, scale)
    else:
        lr, target = image.pair(scale)
        if n_colors == 3 and not interpolated:
            return lr, target
        lr, target = _in_double(lr, n_colors), _in_double(target, n_colors)
    if interpolated:
        lr = imresize(lr, size=target.shape[:2])
    return lr.astype(np.float32), target.astype(np.float32)


def _in_double(rgb: np.ndarray, n_colors: int) -> np.ndarray:
    image = to_float(rgb, np.float64)
    return rgb_to_luma(image) if n_colors == 1 else image
