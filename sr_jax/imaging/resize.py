"""Bicubic resizing equal to MATLAB's `imresize(image, ..., 'bicubic')`.

Super-resolution benchmarks are defined by MATLAB's `imresize`: Keys' cubic kernel with a = -0.5
(Keys 1981, "Cubic convolution interpolation for digital image processing", eq. 15), widened when
shrinking (antialiasing), weights normalised to sum 1, pixels outside the image mirrored, and one
pass a dimension. The resizers of Pillow, OpenCV, PyTorch and JAX differ from it, at the border at
least.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

BORDERS = ("symmetric", "replicate")

# Output rows computed at a time: small enough for the working set to stay in the CPU's cache.
_BLOCK_BYTES = 1 << 18


def resize_matrix(
    in_size: int,
    out_size: int,
    scale: float | None = None,
    *,
    antialias: bool = True,
    border: str = "symmetric",
) -> np.ndarray:
    """Matrix of bicubic resizing along one dimension: `output = matrix @ input`.

    Output pixel i (counted from 1) is centred on input coordinate u = i/r + (1 - 1/r)/2, where r
    is `scale`.

    >>> resize_matrix(4, 2).shape
    (2, 4)
    >>> resize_matrix(4, 8).sum(axis=1).round(12).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]

    Args:
        in_size: input pixels.
        out_size: output pixels.
        scale: the resize ratio r; by default out_size / in_size. It differs from that when the
            output size was rounded up, as `imresize` with a scale does.
        antialias: widen the kernel by 1/r when r < 1, as MATLAB does by default.
        border: what lies outside the input: "symmetric" (mirrored, edge pixel included; current
            MATLAB) or "replicate" (edge pixel repeated; older MATLAB).

    Returns:
        A read-only float64 array of shape (out_size, in_size) whose rows sum to 1.

    Raises:
        ValueError: if a size is below 1, the scale is not positive and finite, or the border is
            unknown.
    """
    scale = _check_dimension(in_size, out_size, scale, border)
    return _matrix(in_size, out_size, scale, antialias, border)


def imresize(
    image: np.ndarray,
    scale: float | Sequence[float] | None = None,
    *,
    size: Sequence[int] | None = None,
    antialias: bool = True,
    border: str = "symmetric",
) -> np.ndarray:
    """Resizes one image as MATLAB's `imresize(image, scale or size, 'bicubic')` does.

    The dimension with the smaller ratio is resized first, the height if they are equal. Unsigned
    integers are rounded (half up) and clipped to their range after each of the two passes, as
    MATLAB does, so the order matters. Sums run in a fixed order: the result does not depend on the
    machine or on a BLAS library.

    >>> imresize(np.full((9, 6), 7, np.uint8), 1 / 3).tolist()
    [[7, 7], [7, 7], [7, 7]]

    Args:
        image: shape (H, W) or (H, W, C); uint8, uint16 or another unsigned integer, or floating.
        scale: the resize ratio, one number or a pair (height, width); output sizes are
            ceil(scale * input size).
        size: the output size (height, width), instead of `scale`; ratios are output / input.
        antialias: widen the kernel when shrinking, as MATLAB does by default.
        border: "symmetric" (current MATLAB) or "replicate" (older MATLAB).

    Returns:
        An array of shape (out_h, out_w) or (out_h, out_w, C) in the dtype of `image`. Floating
        images are computed in float64 and neither rounded nor clipped.

    Raises:
        ValueError: if not exactly one of `scale` and `size` is given, or if the shape, the dtype,
            the scale, the size or the border is none of the above.
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3):
        raise ValueError(f"image has shape {image.shape}, expected (H, W) or (H, W, C)")
    if image.dtype.kind not in "uf":
        raise ValueError(
            f"image has dtype {image.dtype}, expected unsigned integers or floats: convert it first"
        )
    if (scale is None) == (size is None):
        raise ValueError(
            f"expected exactly one of scale and size, got scale={scale} and size={size}"
        )
    if scale is not None:
        ratios = _pair(scale, "scale")
        for ratio in ratios:
            _check_scale(ratio)
        out_size = tuple(
            math.ceil(ratio * n) for ratio, n in zip(ratios, image.shape[:2], strict=True)
        )
        scales: tuple[float | None, float | None] = ratios
    else:
        out_size = _sizes(size)
        scales = (None, None)

    plan = _plan(image.shape[:2], out_size, scales, border)
    resized = image if image.dtype.kind == "u" else image.astype(np.float64)
    for axis, ratio in plan:
        in_size = resized.shape[axis]
        indices, weights = _taps(in_size, out_size[axis], ratio, antialias, border)
        resized = np.moveaxis(_apply(np.moveaxis(resized, axis, 0), indices, weights), 0, axis)
    return np.ascontiguousarray(resized, dtype=image.dtype)


def imresize_jax(
    images: jax.Array,
    size: Sequence[int],
    *,
    scale: float | Sequence[float] | None = None,
    antialias: bool = True,
    border: str = "symmetric",
) -> jax.Array:
    """Resizes floating images as `imresize` does, inside JAX programs.

    Works under `jax.jit`, `jax.vmap` and `jax.grad`; sizes and scale are static. The weights
    are dense constants of (out_h, H) and (out_w, W) numbers, multiplied at full precision.

    Args:
        images: floating images of shape (..., H, W, C), e.g. NHWC.
        size: the output size (height, width).
        scale: the resize ratio, one number or a pair; by default `size` / (H, W). Give it where
            MATLAB was given a scale and the size is ceil(scale * input size), not a multiple.
        antialias: widen the kernel when shrinking, as MATLAB does by default.
        border: "symmetric" (current MATLAB) or "replicate" (older MATLAB).

    Returns:
        Images of shape (..., out_h, out_w, C) in the dtype of `images`, neither rounded nor
        clipped. Sums are taken in float32 at least.

    Raises:
        ValueError: if the shape, the dtype, the size, the scale or the border is none of the above.
    """
    if images.ndim < 3:
        raise ValueError(f"images have shape {images.shape}, expected (..., H, W, C)")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(f"images have dtype {images.dtype}, expected a floating dtype")
    out_size = _sizes(size)
    scales = (None, None) if scale is None else _pair(scale, "scale")

    dtype = jnp.promote_types(images.dtype, jnp.float32)
    height, width = images.shape[-3:-1]
    resized = images.astype(dtype)
    for axis, ratio in _plan((height, width), out_size, scales, border):
        matrix = _matrix((height, width)[axis], out_size[axis], ratio, antialias, border)
        resized = jnp.einsum(
            ("oh,...hwc->...owc", "ow,...hwc->...hoc")[axis],
            jnp.asarray(matrix, dtype),
            resized,
            precision=jax.lax.Precision.HIGHEST,
        )
    return resized.astype(images.dtype)


def _plan(
    in_size: Sequence[int],
    out_size: Sequence[int],
    scales: Sequence[float | None],
    border: str,
) -> list[tuple[int, float]]:
    """The two passes as (axis, ratio): smaller ratio first, height first when equal."""
    ratios = [
        _check_dimension(n, m, r, border) for n, m, r in zip(in_size, out_size, scales, strict=True)
    ]
    return sorted(enumerate(ratios), key=lambda axis_and_ratio: axis_and_ratio[1])


@lru_cache(maxsize=64)
def _taps(
    in_size: int, out_size: int, scale: float, antialias: bool, border: str
) -> tuple[np.ndarray, np.ndarray]:
    """Input indices and weights of each output pixel, both of shape (out_size, taps)."""
    stretch = scale if antialias and scale < 1 else 1.0
    support = 4.0 / stretch
    centre = np.arange(1, out_size + 1) / scale + 0.5 * (1 - 1 / scale)
    left = np.floor(centre - support / 2).astype(np.int64)
    indices = left[:, None] + np.arange(math.ceil(support) + 2)
    weights = stretch * _keys(stretch * (centre[:, None] - indices))
    weights /= weights.sum(axis=1, keepdims=True)

    used = (weights != 0).any(axis=0)
    indices, weights = indices[:, used] - 1, np.ascontiguousarray(weights[:, used])
    if border == "symmetric":
        indices = indices % (2 * in_size)
        indices = np.minimum(indices, 2 * in_size - 1 - indices)
    else:
        indices = indices.clip(0, in_size - 1)
    indices.setflags(write=False)
    weights.setflags(write=False)
    return indices, weights


@lru_cache(maxsize=8)  # dense: tens of megabytes each for large images
def _matrix(in_size: int, out_size: int, scale: float, antialias: bool, border: str) -> np.ndarray:
    indices, weights = _taps(in_size, out_size, scale, antialias, border)
    matrix = np.zeros((out_size, in_size))
    # Near the border several taps fall on one pixel: add them up.
    np.add.at(matrix, (np.arange(out_size)[:, None], indices), weights)
    matrix.setflags(write=False)
    return matrix


def _keys(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5."""
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x**2 + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, inner, np.where(x <= 2, outer, 0.0))


def _apply(image: np.ndarray, indices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """One pass over the first axis; integers are rounded half up and clipped to their dtype.

    The taps are added one after the other rather than through a matrix product: less work, and the
    order of the additions, which can tip a sum close to k + 1/2, is the same on every machine.
    """
    out_size, taps = indices.shape
    rows = np.ascontiguousarray(image).reshape(image.shape[0], -1)
    resized = np.empty((out_size, rows.shape[1]), image.dtype)
    block = max(1, _BLOCK_BYTES // (8 * max(1, rows.shape[1])))
    for start in range(0, out_size, block):
        stop = min(start + block, out_size)
        total = weights[start:stop, :1] * rows[indices[start:stop, 0]]
        for tap in range(1, taps):
            total += weights[start:stop, tap, None] * rows[indices[start:stop, tap]]
        if image.dtype.kind == "u":
            total += 0.5
            np.floor(total, out=total)
            np.clip(total, 0, np.iinfo(image.dtype).max, out=total)
        resized[start:stop] = total
    return resized.reshape(out_size, *image.shape[1:])


def _check_dimension(in_size: int, out_size: int, scale: float | None, border: str) -> float:
    if border not in BORDERS:
        raise ValueError(f"unknown border {border!r}, expected one of {', '.join(BORDERS)}")
    if in_size < 1 or out_size < 1:
        raise ValueError(f"cannot resize {in_size} to {out_size} pixels: both must be at least 1")
    if scale is None:
        return out_size / in_size
    return _check_scale(scale)


def _check_scale(scale: float) -> float:
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scale is {scale}, expected a positive, finite number")
    return float(scale)


def _sizes(size: Sequence[int] | None) -> tuple[int, ...]:
    sizes = _pair(size, "size")
    if any(n != int(n) for n in sizes):
        raise ValueError(f"size is {size}, expected two whole numbers of pixels")
    return tuple(int(n) for n in sizes)


def _pair(value: float | Sequence[float] | None, name: str) -> tuple[float, float]:
    values = np.asarray(value, np.float64)
    if name == "scale" and values.ndim == 0:
        values = np.repeat(values, 2)
    if values.shape != (2,):
        raise ValueError(f"{name} is {value}, expected a pair (height, width)")
    return float(values[0]), float(values[1])
