"""What the page shows of an image: before and after, the size, the seconds, the scores."""

import contextlib
import dataclasses
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sr_jax import pretrained
from sr_jax.data.sources.images import ImageFile
from sr_jax.imaging.encoding import CHANNEL_NAMES
from sr_jax.imaging.files import (
    MAX_PIXELS,
    Picture,
    from_float,
    is_jpeg,
    read_picture,
    to_float,
    to_rgb,
    write_image,
)
from sr_jax.imaging.metrics import score_luma
from sr_jax.imaging.resize import imresize
from sr_jax.inference.settings import Settings
from sr_jax.inference.tiling import Report
from sr_jax.inference.upscaler import network_factor, resize_image, scaled_size
from sr_jax.memory import free_ram
from sr_jax.models import Variables
from sr_jax.models.network import Network
from sr_jax.opening import open_model
from sr_jax.upscaler import Upscaler

AUTOMATIC = "the best for the image"
BICUBIC = "bicubic"

# What a browser shows whole. Of a larger result it gets a square of its middle, and the whole
# reduced to the side of that.
_MOST_SHOWN = 1 << 25
_LONGEST_SHOWN = 1 << 14
_PART = 4096
_THUMBNAIL = 512

# Bytes on the host of a pixel of the result: floats, their rounding, bicubic interpolation.
_BYTES = 32


class Enlarged(NamedTuple):
    """An enlarged image, in files.

    Attributes:
        output: the result as `sr-jax upscale` writes it, PNG.
        views: what is seen -> 8-bit PNG files of one size, before and after; one or two.
        facts: what there is to say of it, by name: what is left and right under the slider, with
            PSNR and SSIM; sizes; seconds; the file.
        problem: why there is no PSNR although an original was given; else empty.
    """

    output: Path
    views: dict[str, tuple[Path, Path]]
    facts: dict[str, str]
    problem: str


class Networks:
    """The networks that the page offers.

    Attributes:
        names: of all, and of what chooses by the image.
    """

    def __init__(
        self, given: Mapping[str, tuple[Network, Variables]], *, tile: int | str | None = "auto"
    ) -> None:
        """Those that come with sr_jax are opened when they are first asked for.

        Args:
            given: name -> network, of the user's own.
            tile: see `sr_jax.inference.settings.Settings`.

        Raises:
            ValueError: one of them does not upscale, or the tile is none.
        """
        Settings(tile=tile)
        for model, _ in given.values():
            network_factor(model, 2)
        self._loaded = dict(given)
        self._tile = tile
        self.names = list(dict.fromkeys([AUTOMATIC, *given, *pretrained.cards(), BICUBIC]))

    def scales(self, name: str) -> tuple[int, ...]:
        """The factors that a network reaches by itself, or else usual ones."""
        if name == AUTOMATIC:
            return tuple(
                sorted({own for card in pretrained.cards().values() for own in card.scales})
            )
        known = None if name == BICUBIC else self._load(name)[0].known_scales
        return known or (2, 3, 4)

    def find(self, name: str, path: Path, scale: float) -> tuple[str, Upscaler | None]:
        """The network of this name for an image.

        Args:
            name: one of `names`.
            path: the image, of which the first bytes are read.
            scale: by which it is enlarged.

        Returns:
            What to call it, and the network; None is bicubic interpolation.

        Raises:
            ValueError: the name or the scale is none.
        """
        if name not in self.names:
            raise ValueError(f"{name} is none of the networks of this page")
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"the scale is {scale:g}, expected a positive number")
        if name == BICUBIC:
            return "bicubic interpolation", None
        words = name
        if name == AUTOMATIC:
            jpeg = is_jpeg(path)
            name = pretrained.choose(scale, "photo" if jpeg else "bicubic").name
            words = f"{name}, made for {'JPEG' if jpeg else 'clean images'}"
        upscaler = Upscaler(self._load(name), scale=scale, tile=self._tile)
        own = network_factor(upscaler.model, scale)
        return words if own == scale else f"{words}, x{own} and then resized", upscaler

    def _load(self, name: str) -> tuple[Network, Variables]:
        if name not in self._loaded:
            self._loaded[name] = open_model(name)[:2]
        return self._loaded[name]


def look(path: Path, folder: Path) -> tuple[Path, str]:
    """A small picture of an image, and what it is in words.

    Args:
        path: the image.
        folder: where the picture is written, PNG.

    Raises:
        ValueError: the file cannot be read; one line names it, without its folder.
    """
    with _in_one_line(path):
        picture = read_picture(path)
        small = Path(tempfile.mkdtemp(dir=folder)) / "small.png"
        _write_view(small, _reduced(picture.pixels, _THUMBNAIL), picture)
    return small, f"{path.name}: {_size(picture.pixels)} pixels, {_kind(picture.pixels)}"


def enlarge(
    path: Path,
    networks: Networks,
    name: str,
    scale: float,
    folder: Path,
    *,
    original: Path | None = None,
    report: Report | None = None,
) -> Enlarged:
    """Enlarges an image file, and compares it with bicubic interpolation and with the original.

    Args:
        path: the image.
        networks: those of the page.
        name: one of their names. Of bicubic interpolation the pixels themselves are before.
        scale: by which it is enlarged.
        folder: in which a folder of the results is made.
        original: a file that the image was reduced from, of the size of the result; what is left
            over when a side is divided by the scale may be on its right and below.
        report: is called with the number of tiles that are done, and that of all.

    Raises:
        ValueError: it cannot be read, the result is too large, or the memory is too small. One line
            names the file, without its folder.
    """
    with _in_one_line(path):
        words, upscaler = networks.find(name, path, scale)
        picture = read_picture(path)
        pixels = picture.pixels
        size = scaled_size(pixels.shape, scale)
        _check_size(pixels, size, upscaler)
        tiles = 0

        def count(done: int, total: int) -> None:
            nonlocal tiles
            tiles = total
            if report:
                report(done, total)

        start = time.perf_counter()
        result = upscaler(pixels, report=count) if upscaler else resize_image(pixels, size)
        seconds = time.perf_counter() - start
        before = resize_image(pixels, size) if upscaler else _nearest(pixels, size)
        # Of its own: results of one name do not replace each other.
        place = Path(tempfile.mkdtemp(dir=folder))
        output = place / f"{path.stem}_x{scale:g}.png"
        write_image(output, result, icc_profile=picture.icc_profile, metadata=picture.metadata)
        views = _write_views(place, before, result, picture)
    facts = {
        "left": "bicubic interpolation" if upscaler else "the pixels as they are",
        "right": words,
    }
    problem = ""
    if original:
        try:
            with _in_one_line(original):
                for side, score in _score(before, result, original, scale).items():
                    facts[side] += f": {score}"
        except ValueError as error:
            problem = f"no PSNR: {error}"
    facts["size"] = f"{_size(pixels)} to {_size(result)} pixels, {_kind(result)}"
    facts["time"] = f"{seconds:.1f} s, compiling included"
    if tiles > 1:
        facts["time"] += f", {tiles} tiles"
    facts["file"] = f"{output.name}, {output.stat().st_size / 1e6:.2f} MB"
    return Enlarged(output, views, facts, problem)


@contextlib.contextmanager
def _in_one_line(path: Path) -> Iterator[None]:
    """What goes wrong with a file, in the words of `sr-jax upscale`, without the file's folder."""
    try:
        yield
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        text = " ".join(str(error).split())
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
            text = f"not enough memory for {path.name}: start `sr-jax view` with a smaller --tile"
        raise ValueError(text.replace(str(path), path.name)) from error


def _check_size(pixels: np.ndarray, size: tuple[int, int], upscaler: Upscaler | None) -> None:
    """Raises ValueError for results that cannot be, before anything is done for them."""
    height, width = size
    if height * width > MAX_PIXELS:
        raise ValueError(
            f"the result would have {width} x {height} pixels, this page makes at most "
            f"{MAX_PIXELS}: choose a smaller scale, or use `sr-jax upscale`"
        )
    if upscaler:  # which may reach farther than asked
        own = scaled_size(pixels.shape, network_factor(upscaler.model, upscaler.scale))
        needed, there = _BYTES * max(height * width, math.prod(own)), free_ram()
        if needed > there:
            raise ValueError(
                f"not enough memory: the result takes {needed / 2**30:.1f} GiB, there are "
                f"{there / 2**30:.1f}: choose a smaller scale"
            )


def _score(before: np.ndarray, result: np.ndarray, original: Path, scale: float) -> dict[str, str]:
    """PSNR and SSIM left and right, as `sr-jax evaluate` has them of images of 8 bits."""
    reference, border = ImageFile(original)(), math.ceil(scale)
    height, width = result.shape[:2]
    over = [a - b for a, b in zip(reference.shape[:2], (height, width), strict=True)]
    if not all(0 <= rest < border for rest in over):
        raise ValueError(
            f"{original.name} has {_size(reference)} pixels, but the result {_size(result)}: give "
            "the image that this one was reduced from, or another scale"
        )
    scores = {}
    for side, image in {"left": before, "right": result}.items():
        pixels = _in_8_bits(to_rgb(image))
        psnr, ssim = score_luma(pixels, reference[:height, :width], border=border)
        scores[side] = f"{psnr:.2f} dB / {ssim:.4f}"
    return scores


def _write_views(
    place: Path, before: np.ndarray, after: np.ndarray, picture: Picture
) -> dict[str, tuple[Path, Path]]:
    """Files that a browser can show, of both."""
    height, width = after.shape[:2]
    if height * width <= _MOST_SHOWN and max(height, width) <= _LONGEST_SHOWN:
        shown = {"the whole": [before, after]}
    else:
        top, left = (max(0, side - _PART) // 2 for side in (height, width))
        middle = slice(top, top + _PART), slice(left, left + _PART)
        percent = 100 * _PART / max(height, width)
        shown = {
            "the middle, pixel by pixel": [before[middle], after[middle]],
            f"the whole, reduced to {percent:.2g} %": [_reduced(i, _PART) for i in (before, after)],
        }
    views = {}
    for number, (what, images) in enumerate(shown.items()):
        files = (place / f"before{number}.png", place / f"after{number}.png")
        for file, image in zip(files, images, strict=True):
            _write_view(file, image, picture)
        views[what] = files
    return views


def _write_view(path: Path, image: np.ndarray, picture: Picture) -> None:
    """Writes an image for the eye: 8 bits, in front of white, in the colours of the picture."""
    image = _in_8_bits(image)
    if image.ndim == 3 and image.shape[2] in (2, 4):
        opacity = to_float(image[..., -1:])
        image = from_float(to_float(image[..., :-1]) * opacity + (1 - opacity))
    metadata = dataclasses.replace(picture.metadata, exif=None)
    write_image(path, image, icc_profile=picture.icc_profile, metadata=metadata)


def _reduced(image: np.ndarray, side: int) -> np.ndarray:
    """The image with no side longer than this."""
    factor = side / max(image.shape[:2])
    return image if factor >= 1 else imresize(image, size=scaled_size(image.shape, factor))


def _nearest(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (
        np.arange(to) * side // to for to, side in zip(size, image.shape[:2], strict=True)
    )
    return image[rows[:, None], columns]


def _in_8_bits(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else from_float(to_float(image))


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"


def _kind(image: np.ndarray) -> str:
    channels = 1 if image.ndim == 2 else image.shape[2]
    return f"{8 * image.dtype.itemsize}-bit {CHANNEL_NAMES[channels]}"
