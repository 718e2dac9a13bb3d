"""Degraded as photographs are: a slight blur, noise and JPEG, in random order.

`data.degradation = "photo"` puts this after the bicubic reduction. What a row of a batch suffers is
drawn from the seed, the step and the row alone, like all else (`sr_jax.data.patches`). It is
computed inside the step, so that it does not matter where patches are cut.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sr_jax.data.sources import ImagePair
from sr_jax.imaging.files import from_float, to_float
from sr_jax.ops.devices import BATCH_AXIS, sharing_devices

DEGRADATIONS = ("bicubic", "photo")

# Drawn uniformly: standard deviations of the blur in pixels and of the noise in [0, 1], and JPEG's
# quality. Half of the JPEGs have colour at half the resolution.
BLUR, NOISE, QUALITY = (0.0, 0.8), (0.0, 8 / 255), (30, 95)
_REACH = 3  # pixels of the blur to each side

# ITU-T T.81, tables K.1 and K.2.
_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
_CHROMA = np.full((8, 8), 99, np.float32)
_CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
# JFIF 1.02: RGB to YCbCr, 0..255, less the 128 of Cb and Cr.
_TO_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
# T.81, A.3.3: of eight samples.
_FREQUENCY, _SAMPLE = np.mgrid[:8, :8]
_DCT = (
    np.where(_FREQUENCY == 0, np.sqrt(1 / 8), 0.5)
    * np.cos((2 * _SAMPLE + 1) * _FREQUENCY * np.pi / 16)
).astype(np.float32)
_HIGHEST = jax.lax.Precision.HIGHEST
_einsum = functools.partial(jnp.einsum, precision=_HIGHEST)


def degrade(image: jax.Array, key: jax.Array) -> jax.Array:
    """Blurs, adds noise and compresses, in the order and to the degree that the key draws.

    Args:
        image: (H, W, C), [0, 1], C is 3 (RGB) or 1 (luma).
        key: of this image.

    Returns:
        The same shape, dtype and range, multiples of 1/255.
    """
    order, sigma, level, grain, quality, halved, offset = jax.random.split(key, 7)
    sigma = jax.random.uniform(sigma, (), image.dtype, *BLUR)
    noise = jax.random.uniform(level, (), image.dtype, *NOISE)
    noise *= jax.random.normal(grain, image.shape, image.dtype)
    quality = jax.random.randint(quality, (), QUALITY[0], QUALITY[1] + 1)
    halved = jax.random.bernoulli(halved)
    offset = jax.random.randint(offset, (2,), 0, 16)
    orders = jax.random.permutation(order, 3)
    for place in range(3):
        kinds = (blur(image, sigma), image + noise, jpeg(image, quality, halved, offset))
        image = jnp.stack(kinds)[orders[place]]
    return _to_levels(image)


def blur(image: jax.Array, sigma: jax.Array | float) -> jax.Array:
    """A Gaussian of this standard deviation in pixels, at most 1; borders are repeated.

    Args:
        image: (H, W, C).
        sigma: 0 changes nothing.
    """
    taps = jnp.arange(-_REACH, _REACH + 1)
    weights = jnp.exp(-(taps**2) / (2 * jnp.maximum(sigma, 1e-3) ** 2)).astype(image.dtype)
    weights /= weights.sum()
    for axis in (0, 1):
        widths = [(_REACH, _REACH) if axis == each else (0, 0) for each in range(3)]
        padded = jnp.pad(image, widths, mode="edge")
        shifted = [
            jax.lax.slice_in_dim(padded, tap, tap + image.shape[axis], axis=axis)
            for tap in range(len(taps))
        ]
        image = jnp.tensordot(weights, jnp.stack(shifted), 1, precision=_HIGHEST)
    return image


def jpeg(
    image: jax.Array,
    quality: jax.Array | int,
    halved: jax.Array | bool = True,
    offset: jax.Array | tuple[int, int] = (0, 0),
) -> jax.Array:
    """What is left of an image once it was a JPEG file, as libjpeg writes and reads it.

    Args:
        image: (H, W, C), [0, 1], C is 3 (RGB) or 1 (luma); it is rounded to 8 bits first.
        quality: from 1 to 100.
        halved: whether colour is stored at half the resolution (4:2:0).
        offset: rows and columns by which the blocks begin before the image, from 0 to 15, as they
            do where a patch was cut from a larger image.

    Returns:
        The same shape and dtype, multiples of 1/255.
    """
    height, width, channels = image.shape
    offset = jnp.asarray(offset)
    rows, columns = (
        jnp.clip(jnp.arange(-(-(side + 15) // 16) * 16) - start, 0, side - 1)
        for side, start in zip((height, width), offset, strict=True)
    )
    levels = jnp.round(255 * jnp.clip(image, 0, 1))[rows][:, columns]
    if channels == 1:
        result = _quantise(levels[..., 0] - 128, _LUMA, quality)[..., None] + 128
    else:
        luma, *chroma = jnp.moveaxis(jnp.round(_einsum("hwc,kc->hwk", levels, _TO_YCBCR)), -1, 0)
        luma = _quantise(luma - 128, _LUMA, quality)
        chroma = [
            jnp.where(
                halved,
                _double(_quantise(_halve(plane), _CHROMA, quality)),
                _quantise(plane, _CHROMA, quality),
            )
            for plane in chroma
        ]
        ycbcr = jnp.stack([luma + 128, *chroma], axis=-1)
        result = _einsum("hwk,ck->hwc", ycbcr, jnp.linalg.inv(_TO_YCBCR))
    cut = jax.lax.dynamic_slice(result, (*offset, 0), image.shape)
    return _to_levels(cut.astype(image.dtype) / 255)


def _to_levels(image: jax.Array) -> jax.Array:
    return jnp.round(255 * jnp.clip(image, 0, 1)) / 255


def _quantise(plane: jax.Array, table: np.ndarray, quality: jax.Array | int) -> jax.Array:
    """A plane (16 h, 16 w) or (8 h, 8 w) around 0 that was stored as JPEG's coefficients."""
    quality = jnp.asarray(quality)
    percent = jnp.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    steps = jnp.clip((table * percent + 50) // 100, 1, 255)
    height, width = plane.shape
    blocks = plane.reshape(height // 8, 8, width // 8, 8)
    steps = steps[:, None, :]
    stored = jnp.round(_einsum("ui,yixj,vj->yuxv", _DCT, blocks, _DCT) / steps) * steps
    blocks = _einsum("ui,yuxv,vj->yixj", _DCT, stored, _DCT)
    return jnp.clip(jnp.round(blocks.reshape(height, width)), -128, 127)


def _halve(plane: jax.Array) -> jax.Array:
    """The means of 2 x 2 pixels."""
    height, width = plane.shape
    return jnp.round(plane.reshape(height // 2, 2, width // 2, 2).mean((1, 3)))


def _double(plane: jax.Array) -> jax.Array:
    """Twice as large, by libjpeg's triangle filter: three parts the nearest, one the next."""
    for axis in (0, 1):
        size = plane.shape[axis]
        padded = jnp.pad(plane, [(1, 1) if axis == each else (0, 0) for each in range(2)], "edge")
        before = jax.lax.slice_in_dim(padded, 0, size, axis=axis)
        after = jax.lax.slice_in_dim(padded, 2, size + 2, axis=axis)
        pairs = jnp.stack([3 * plane + before, 3 * plane + after], axis=axis + 1) / 4
        plane = pairs.reshape(
            [2 * size if axis == each else n for each, n in enumerate(plane.shape)]
        )
    return jnp.round(plane)


def degrade_in_step(step: Callable[..., Any], seed: int) -> Callable[[Any, Any, Any], Any]:
    """Puts the degradation of the inputs in front of an update.

    Args:
        step: a function (state, {'lr', 'hr'}, loss) -> (state, metrics); `state.step` counts the
            updates done.
        seed: of the training.

    Returns:
        A function of the same kind.
    """

    def degrade_and_step(state: Any, batch: dict[str, jax.Array], loss: Any) -> Any:
        here = len(batch["lr"])
        first = jax.lax.axis_index(BATCH_AXIS) * here if sharing_devices() > 1 else 0
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(here))
        inputs = jax.vmap(degrade)(batch["lr"], keys)
        return step(state, {**batch, "lr": jax.lax.optimization_barrier(inputs)}, loss)

    return degrade_and_step


def degraded(images: Sequence[ImagePair], seed: int) -> tuple[ImagePair, ...]:
    """The images, with low-resolution ones that are degraded, each time alike."""
    return tuple(
        dataclasses.replace(
            image, read_lr={scale: _Degraded(image, scale, (seed, place)) for scale in image.scales}
        )
        for place, image in enumerate(images)
    )


@dataclass(frozen=True)
class _Degraded:
    """Reads a low-resolution image and degrades it; prints as the file that it degrades."""

    image: ImagePair
    scale: int
    seed: tuple[int, int]

    def __call__(self) -> np.ndarray:
        key = jax.random.fold_in(jax.random.key(self.seed[0]), self.seed[1])
        lr = to_float(self.image.lr(self.scale)).astype(np.float32)
        return from_float(np.asarray(jax.jit(degrade)(lr, key)))

    def __str__(self) -> str:
        return str(self.image.read_lr.get(self.scale, self.image.read_hr))
