"""BT.601 colour in studio range, as MATLAB's `rgb2ycbcr` and `ycbcr2rgb`.

The functions are plain array arithmetic: a NumPy array gives a NumPy array, a JAX array (or tracer)
gives a JAX array, and the floating dtype is kept.
"""

from typing import Any, TypeVar

import numpy as np

# A NumPy array or a JAX array: what comes in is what goes out, without importing JAX here.
Array = TypeVar("Array", bound=Any)

# ITU-R BT.601, for R, G, B in [0, 1] and Y, Cb, Cr in 0..255 (rows Y, Cb, Cr).
_TO_YCBCR = np.array(
    [
        [65.481, 128.553, 24.966],
        [-37.797, -74.203, 112.0],
        [112.0, -93.786, -18.214],
    ]
)
_OFFSET = np.array([16.0, 128.0, 128.0])
_TO_RGB = np.linalg.inv(_TO_YCBCR)


def rgb_to_luma(rgb: Array) -> Array:
    """Luma of RGB images: (65.481 R + 128.553 G + 24.966 B + 16) / 255.

    >>> black_and_white = np.array([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    >>> (rgb_to_luma(black_and_white) * 255).round(9).tolist()
    [[16.0], [235.0]]

    Args:
        rgb: floating images of shape (..., 3) with values in [0, 1].

    Returns:
        Y of shape (..., 1) in [16/255, 235/255], in the dtype of `rgb`.

    Raises:
        ValueError: if the last axis is not 3 long or the dtype is not floating.
    """
    _check(rgb, "rgb")
    red, green, blue = (float(weight) for weight in _TO_YCBCR[0])
    y = red * rgb[..., 0:1] + green * rgb[..., 1:2] + blue * rgb[..., 2:3]
    return (y + 16.0) / 255.0


def rgb_to_ycbcr(rgb: Array) -> Array:
    """RGB to YCbCr; channel 0 is `rgb_to_luma` to rounding.

    Args:
        rgb: floating images of shape (..., 3) with values in [0, 1].

    Returns:
        YCbCr of shape (..., 3) in the dtype of `rgb`: Y in [16/255, 235/255], Cb and Cr in
        [16/255, 240/255] with 128/255 for grey.

    Raises:
        ValueError: if the last axis is not 3 long or the dtype is not floating.
    """
    _check(rgb, "rgb")
    return _mix(rgb, _TO_YCBCR / 255.0, _OFFSET / 255.0)


def ycbcr_to_rgb(ycbcr: Array) -> Array:
    """YCbCr to RGB, the inverse of `rgb_to_ycbcr` to rounding.

    Nothing is clipped: YCbCr triples outside the RGB cube give values outside [0, 1].

    Args:
        ycbcr: floating images of shape (..., 3) as `rgb_to_ycbcr` returns them.

    Returns:
        RGB of shape (..., 3) in the dtype of `ycbcr`, in [0, 1] for colours that RGB can show.

    Raises:
        ValueError: if the last axis is not 3 long or the dtype is not floating.
    """
    _check(ycbcr, "ycbcr")
    return _mix(ycbcr, _TO_RGB * 255.0, -_TO_RGB @ _OFFSET)


def _mix(pixels: Array, matrix: np.ndarray, offset: np.ndarray) -> Array:
    # Broadcast products rather than a matmul: accelerators run float32 matmuls in lower precision.
    columns = matrix.T.astype(pixels.dtype)
    mixed = pixels[..., 0:1] * columns[0] + pixels[..., 1:2] * columns[1]
    return mixed + pixels[..., 2:3] * columns[2] + offset.astype(pixels.dtype)


def _check(pixels: Any, name: str) -> None:
    if pixels.ndim < 1 or pixels.shape[-1] != 3:
        raise ValueError(
            f"{name} has shape {tuple(pixels.shape)}, expected (..., 3): "
            "put the three colour channels last"
        )
    if np.issubdtype(pixels.dtype, np.integer) or pixels.dtype == np.bool_:
        raise ValueError(
            f"{name} has dtype {pixels.dtype}, expected floating values in [0, 1]: "
            "convert with sr_jax.imaging.files.to_float"
        )
