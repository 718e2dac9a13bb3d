"""A network applied to an image: interpolation, colour, grey, alpha, range and rounding."""

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from sr_jax.imaging.color import rgb_to_luma, rgb_to_ycbcr, ycbcr_to_rgb
from sr_jax.imaging.files import from_float, to_float, to_rgb
from sr_jax.imaging.resize import imresize
from sr_jax.inference.canvas import paste
from sr_jax.inference.cost import fits_whole
from sr_jax.inference.ensemble import symmetries
from sr_jax.inference.layout import layout
from sr_jax.inference.program import (
    compiled,
    count_devices,
    input_size,
    output_factor,
    precision,
    result_dtype,
)
from sr_jax.inference.settings import Settings
from sr_jax.inference.tiling import Report, Tile, run, split
from sr_jax.models import Variables, describe_model
from sr_jax.models.network import Network


def network_scale(model: Network, asked: int | None) -> int:
    """The factor by which an image will be upscaled.

    Args:
        model: the network.
        asked: what the user asked for, or None.

    Raises:
        ValueError: the network has several scales and none was asked for, or it has others, or it
            does not upscale.
    """
    known = model.known_scales
    if known == ():
        raise ValueError(f"{describe_model(model)[0]} is no network that upscales images")
    if asked is None:
        if known is None or len(known) > 1:
            factors = ", ".join(map(str, known or ()))
            told = f"upscales by {factors}" if known else "has no scale of its own"
            raise ValueError(f"this network {told}: say by how much (--scale, or scale= in Python)")
        return known[0]
    if known is not None and asked not in known:
        raise ValueError(f"this network upscales by {', '.join(map(str, known))}, not by {asked}")
    return asked


def network_factor(model: Network, scale: float | None) -> int:
    """The factor of the network itself: the least that reaches the scale, or else its largest."""
    known = model.known_scales
    if scale is None or known == ():
        return network_scale(model, None)
    if known is None:
        return math.ceil(scale)
    return min((factor for factor in known if factor >= scale), default=max(known))


def scaled_size(shape: Sequence[int], scale: float) -> tuple[int, int]:
    """(height, width) of an image times a scale, rounded half up, one pixel at least.

    Args:
        shape: (height, width, ...) of the image.
        scale: any positive number.
    """
    height, width = (max(1, math.floor(scale * side + 0.5)) for side in shape[:2])
    return height, width


def tiled_if_needed(
    model: Network, variables: Variables, height: int, width: int, scale: int, settings: Settings
) -> Settings:
    """The settings, with automatic tiles where they ask for a whole image that cannot be one.

    Args:
        model, variables: the network.
        height, width: of the image.
        scale: see `network_scale`.
        settings: how the image goes through the network.
    """
    size = input_size(model, height, width, scale)
    if settings.tile is not None or settings.shard:
        return settings
    if fits_whole(model, variables, size, scale, settings):
        return settings
    return dataclasses.replace(settings, tile="auto")


def run_network(
    model: Network,
    variables: Variables,
    image: np.ndarray,
    scale: int,
    settings: Settings = Settings(),
    *,
    report: Report | None = None,
) -> np.ndarray:
    """One low-resolution image through a network, on the network's own colour channels.

    An image of a size that the network cannot take has its last row and column repeated up to the
    next one, and the result is cropped. For SRCNN and VDSR the whole image is interpolated first:
    tiles are cut from, and symmetries applied to, the interpolated image.

    Args:
        model: the network.
        variables: its variables.
        image: (H, W, C) floats in [0, 1], C the network's channels; not interpolated.
        scale: see `network_scale`.
        settings: how the image goes through the network.
        report: see `tiling.run`.

    Returns:
        (scale * H, scale * W, C), neither clipped nor rounded; float32, but float64 where the
        settings ask for that dtype.

    Raises:
        ValueError: the settings do not fit the network or the memory (see `layout.layout`).
    """
    height, width = input_size(model, image.shape[0], image.shape[1], scale)
    if model.takes_interpolated:
        image = imresize(np.asarray(image, np.float64), size=(height, width))
    cut = layout(model, variables, (height, width), scale, settings)
    missing = [(0, full - side) for full, side in zip(cut.size, (height, width), strict=True)]
    dtype, factor = result_dtype(settings.dtype), output_factor(model, scale)
    image = image.astype(dtype, copy=False)
    if cut.size != (height, width):
        image = np.pad(image, (*missing, (0, 0)), mode="edge")
    result = np.zeros((factor * cut.size[0], factor * cut.size[1], image.shape[2]), dtype)

    pairs = [(image, result)]
    if settings.ensemble:
        pairs = list(zip(symmetries(image), symmetries(result), strict=True))
    tiles: list[Tile] = []
    for number, (view, place) in enumerate(pairs):
        # The last four symmetries are transposed.
        tile = cut.tile if number < 4 else cut.tile[::-1]
        tiles += split(view, place, tile, cut.overlap, cut.ramp, model.size_divisor)
    devices = count_devices(settings)

    def function(batch: np.ndarray) -> np.ndarray:
        if cut.canvas is None:
            program = compiled(model, scale, settings.dtype, devices, batch.shape, False)
            return np.asarray(program(variables, batch))
        upright = batch.shape[1:3] == cut.tile
        canvases = paste(batch, cut.canvas if upright else cut.canvas[::-1])
        shape = canvases.pixels.shape
        program = compiled(model, scale, settings.dtype, devices, shape, True)
        return np.asarray(program(variables, canvases))

    with precision(settings.dtype):
        run(function, tiles, settings.batch, report)
    if settings.ensemble:
        result /= len(pairs)
    return result[: factor * height, : factor * width]


def upscale_rgb(
    model: Network,
    variables: Variables,
    image: np.ndarray,
    scale: int,
    settings: Settings = Settings(),
    *,
    report: Report | None = None,
) -> np.ndarray:
    """Upscales a colour image; a luma network gets the luma, and the chroma goes bicubic.

    Args:
        model: the network.
        variables: its variables.
        image: (H, W, 3) RGB floats in [0, 1].
        scale: see `network_scale`.
        settings: how the image goes through the network.
        report: see `tiling.run`.

    Returns:
        (scale * H, scale * W, 3) RGB, neither clipped nor rounded; dtype as of `run_network`.

    Raises:
        ValueError: see `run_network`.
    """
    if model.n_colors == 3:
        return run_network(model, variables, image, scale, settings, report=report)
    luma = run_network(model, variables, rgb_to_luma(image), scale, settings, report=report)
    # One array is filled and converted in place: that of a photograph takes gigabytes.
    result = np.empty((*luma.shape[:2], 3), luma.dtype)
    result[..., :1] = luma
    del luma
    chroma = rgb_to_ycbcr(image)
    for channel in (1, 2):
        result[..., channel] = imresize(chroma[..., channel], scale)
    for rows in _row_blocks(result):
        result[rows] = ycbcr_to_rgb(result[rows].astype(np.float64))
    return result


def _row_blocks(image: np.ndarray) -> Iterator[slice]:
    """Rows of about a million values, for steps that copy."""
    rows = max(1, 2**20 // image[0].size)
    for start in range(0, len(image), rows):
        yield slice(start, start + rows)


def upscale_image(
    model: Network,
    variables: Variables,
    image: np.ndarray,
    scale: int,
    settings: Settings = Settings(),
    *,
    size: Sequence[int] | None = None,
    alpha: str = "bicubic",
    report: Report | None = None,
) -> np.ndarray:
    """Upscales an image as a file holds it, and returns it in the same layout and bit depth.

    Grey goes through the network as three equal channels, of which the mean is taken; an RGB image
    of three equal channels stays grey too, without fringes of colour. The fainter a pixel, the more
    the network sees of the nearest strong pixel's colour in its place: no ring of a hidden colour
    appears along the edges.

    Args:
        model: the network.
        variables: its variables.
        image: uint8 or uint16, (H, W), (H, W, 2), (H, W, 3) or (H, W, 4).
        scale: see `network_scale`.
        settings: how the image goes through the network.
        size: (height, width) of the result, to which the network's output is resized before it is
            rounded; None keeps `scale` times the image's.
        alpha: 'bicubic', or 'network' to send alpha through the network as grey.
        report: see `tiling.run`; with alpha through the network, of both passes one by one.

    Returns:
        The same dtype, channels and range, with both sides `scale` times as long, or of `size`.

    Raises:
        ValueError: alpha is none of the two, or see `run_network`.
    """
    if alpha not in ("bicubic", "network"):
        raise ValueError(f"alpha is {alpha!r}; known are 'bicubic' and 'network'")

    def upscale(pixels: np.ndarray) -> np.ndarray:
        rgb = to_float(to_rgb(pixels))
        colour = upscale_rgb(model, variables, rgb, scale, settings, report=report)
        if size is not None:
            colour = imresize(colour, size=size)
        rounded = np.empty(colour.shape, image.dtype)
        for rows in _row_blocks(colour):
            rounded[rows] = from_float(colour[rows], image.dtype)
        return rounded

    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels not in (2, 4):
        return _in_layout_of(image, upscale(image))
    visible = _visible_colour(image)
    colour = _in_layout_of(visible, upscale(visible))
    opacity = image[..., -1:]
    if alpha == "network":
        opacity = _in_layout_of(opacity, upscale(opacity))
    else:
        opacity = imresize(opacity, size=size) if size else imresize(opacity, scale)
    return np.concatenate([colour, opacity], axis=-1)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bicubic interpolation of an image as a file holds it; colour counts by its opacity.

    Args:
        image: uint8 or uint16, (H, W), (H, W, 2), (H, W, 3) or (H, W, 4).
        size: (height, width) of the result.

    Returns:
        The same dtype, channels and range.
    """
    if image.ndim == 2 or image.shape[2] not in (2, 4):
        return imresize(image, size=size)
    opaque = np.concatenate([_visible_colour(image), image[..., -1:]], axis=-1)
    return imresize(opaque, size=size)


def _visible_colour(image: np.ndarray) -> np.ndarray:
    """The colour of an image with alpha; faint pixels take over that of the nearest strong one.

    Strong is what is at least half as opaque as anything within three pixels. The colour of other
    pixels counts the less, the fainter they are.
    """
    from scipy.ndimage import distance_transform_edt, maximum_filter

    colour, opacity = image[..., :-1], image[..., -1]
    needed = maximum_filter(opacity, size=7) / 2
    faint = (opacity < needed) | (opacity == 0)
    if not faint.any() or not opacity.any():
        return colour
    rows, columns = distance_transform_edt(faint, return_distances=False, return_indices=True)
    own = (opacity[faint] / np.maximum(needed[faint], 0.5))[:, None]
    result = colour.copy()
    nearest = colour[rows[faint], columns[faint]]
    result[faint] = np.floor(own * colour[faint] + (1 - own) * nearest + 0.5)
    return result


def _in_layout_of(image: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Upscaled colour, as grey where `image` is, if only by its pixels; no alpha. May change it."""
    rgb = image.ndim == 3 and image.shape[2] == 3
    if rgb and any((image[..., 0] != image[..., other]).any() for other in (1, 2)):
        return colour
    grey = np.empty((*colour.shape[:2], 1), image.dtype)
    for rows in _row_blocks(colour):
        grey[rows] = np.floor(colour[rows].mean(axis=-1, keepdims=True) + 0.5)
        if rgb:
            colour[rows] = grey[rows]
    if rgb:
        return colour
    return grey[..., 0] if image.ndim == 2 else grey
