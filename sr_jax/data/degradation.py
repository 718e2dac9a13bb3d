"""From high to low resolution: the bicubic degradation of every paper implemented here.

"Bicubic" means MATLAB's `imresize` (antialiased Keys cubic, borders mirrored), which made the
low-resolution images of DIV2K and of all published benchmark tables; see
`sr_jax.imaging.resize`.
"""

import numpy as np

from sr_jax.imaging.resize import imresize


def modcrop(image: np.ndarray, scale: int) -> np.ndarray:
    """Crops the bottom and the right so that both sides are multiples of `scale`.

    Args:
        image: `(H, W)` or `(H, W, C)`, any dtype.
        scale: a positive integer.

    Returns:
        A view of `image`, `(H - H % scale, W - W % scale[, C])`.

    Raises:
        ValueError: if `scale` is not a positive integer, or a side is shorter than `scale`.

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
    """Reduces an image by an integer factor as MATLAB's `imresize(modcrop(hr), 1/scale)` does.

    Args:
        hr: `(H, W)` or `(H, W, C)`. uint8 is rounded after each pass, as in MATLAB; floats are
            not rounded at all.
        scale: a positive integer.

    Returns:
        `(H // scale, W // scale[, C])` of the same dtype and value range.

    Raises:
        ValueError: as `modcrop`.

    >>> downscale(np.full((9, 6, 3), 7, np.uint8), 2).shape
    (4, 3, 3)
    """
    hr = modcrop(hr, scale)
    return imresize(hr, size=(hr.shape[0] // scale, hr.shape[1] // scale))
