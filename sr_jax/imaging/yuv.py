"""Y'CbCr as video holds it, to R'G'B' and back: any matrix, range and bit depth.

Numbers of matrices are those of ITU-T H.273, table 4; equations are of its section 8.3. Pixels stay
as the video's transfer function has coded them, which is what networks are made for.
"""

import functools
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Matrix -> the weights of red and blue in the luma (H.273, table 4).
WEIGHTS = {
    1: (0.2126, 0.0722),  # BT.709
    4: (0.30, 0.11),  # FCC
    5: (0.299, 0.114),  # BT.601, 625 lines
    6: (0.299, 0.114),  # BT.601, 525 lines
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # BT.2020, non-constant luminance
}


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def to_rgb(planes: jax.Array | np.ndarray, matrix: int, full: bool, bits: int) -> jax.Array:
    """Codes to RGB; what lies outside of the RGB cube is clipped.

    >>> red = 256 * np.array([63, 102, 240]).reshape(3, 1, 1)
    >>> to_rgb(red, 1, False, 8).round(2).tolist()
    [[[1.0, 0.0, 0.0]]]

    Args:
        planes: (3, H, W), Y, Cb and Cr as codes of 16 bits, of which `bits` come first: codes of 8
            bits times 256, whole numbers or not.
        matrix: one of `WEIGHTS`.
        full: whether codes take the full range, 0 to 255 at 8 bits; else 16 to 235, chroma 16 to
            240.
        bits: of a code.

    Returns:
        (H, W, 3), float32, in [0, 1].
    """
    luma, chroma, offset, middle = (2 ** (16 - bits) * step for step in _steps(full, bits))
    red, blue = WEIGHTS[matrix]
    codes = planes.astype(jnp.float32)
    y = (codes[0] - offset) / luma
    r = y + 2 * (1 - red) * (codes[2] - middle) / chroma
    b = y + 2 * (1 - blue) * (codes[1] - middle) / chroma
    g = (y - red * r - blue * b) / (1 - red - blue)
    return jnp.stack([r, g, b], axis=-1).clip(0, 1)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def from_rgb(rgb: jax.Array | np.ndarray, matrix: int, full: bool, bits: int) -> jax.Array:
    """RGB to codes, the inverse of `to_rgb`: clipped to [0, 1] first, and rounded half up.

    >>> red = np.array([[[1, 0, 0]]], np.float32)
    >>> [from_rgb(red, 6, full, 8).ravel().tolist() for full in (False, True)]
    [[81, 90, 240], [76, 85, 255]]

    Args:
        rgb: (H, W, 3) floats.
        matrix, full, bits: see `to_rgb`.

    Returns:
        (3, H, W), codes of `bits`: uint8 if these are 8, else uint16.
    """
    luma, chroma, offset, middle = _steps(full, bits)
    red, blue = WEIGHTS[matrix]
    r, g, b = (rgb[..., channel].astype(jnp.float32).clip(0, 1) for channel in range(3))
    y = red * r + (1 - red - blue) * g + blue * b
    cb, cr = (b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))
    codes = jnp.stack([luma * y + offset, chroma * cb + middle, chroma * cr + middle])
    rounded = jnp.floor(codes + 0.5).clip(0, 2**bits - 1)
    return rounded.astype(jnp.uint8 if bits == 8 else jnp.uint16)


def _steps(full: bool, bits: int) -> tuple[int, int, int, int]:
    """From black to white and from the least to the largest chroma; where luma and grey begin."""
    if full:
        return 2**bits - 1, 2**bits - 1, 0, 2 ** (bits - 1)
    step = 2 ** (bits - 8)
    return 219 * step, 224 * step, 16 * step, 128 * step


def planes(frame: Any) -> list[np.ndarray]:
    """The planes of a `av.VideoFrame` of 8 or 16 bits a sample, (height, width) each, as views."""
    wide = frame.format.components[0].bits > 8
    dtype = np.dtype("<u2") if wide else np.dtype(np.uint8)
    return [
        np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width]
        for plane in frame.planes
    ]


def frame_of(codes: Iterable[np.ndarray], pixels: str) -> Any:
    """A `av.VideoFrame` of these planes: all of the same size.

    Args:
        codes: (height, width) each.
        pixels: PyAV's name of the planar pixel format.
    """
    import av

    codes = list(codes)
    height, width = codes[0].shape
    frame = av.VideoFrame(width, height, pixels)
    for place, plane in zip(planes(frame), codes, strict=True):
        place[...] = plane
    return frame


def resampler(
    size: tuple[int, int], source: str, target: str, full: bool, siting: str = "left"
) -> Callable[[Any], Any]:
    """A function that gives frames another chroma resolution, and changes no colour.

    Args:
        size: (width, height).
        source, target: PyAV's names of pixel formats. Luma of 8 bits must stay at 8 or become 16,
            else it is dithered.
        full: whether the codes take the full range.
        siting: where chroma samples lie beside luma, of whichever format has fewer of them:
            "left", or "center" as in JPEG and MPEG-1.

    Returns:
        Takes a `av.VideoFrame` of the source and returns one of the target.
    """
    import av
    from av.filter import Graph

    graph = Graph()
    # Both sides are told the same matrix and range, whichever: else swscale converts colours.
    same = f"color_matrix=bt709:{{0}}_range={'full' if full else 'limited'}"
    sides = ":".join(f"{side}_{same}".format(side) for side in ("in", "out"))
    # Without a siting swscale takes "center", and colours move by a quarter of a pixel.
    sides += f":{'out' if '444' in source else 'in'}_chroma_loc={siting}"
    flags = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact"
    graph.link_nodes(
        graph.add_buffer(None, *size, av.VideoFormat(source), time_base=Fraction(1, 1)),
        graph.add("scale", f"{flags}:{sides}"),
        graph.add("format", target),
        graph.add("buffersink"),
    ).configure()

    def resample(frame: Any) -> Any:
        graph.push(frame)
        return graph.pull()

    return resample
