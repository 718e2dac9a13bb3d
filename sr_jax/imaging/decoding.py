"""From the content of an image file to pixels."""

import io
import itertools
import logging
import struct
import warnings
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from sr_jax.imaging import metadata as metadata_of
from sr_jax.imaging import profiles
from sr_jax.imaging.metadata import Metadata

if TYPE_CHECKING:
    import tifffile

# Where no logging is set up, what decoders log of odd files would be printed between the lines of a
# command. What matters of it is raised as well.
for _decoder in ("PIL", "imagecodecs", "tifffile"):
    logging.getLogger(_decoder).addHandler(logging.NullHandler())

# A file whose header promises more than this (16384 squared) is refused before it is decoded.
MAX_PIXELS = 1 << 28

# Our modes, and the modes of Pillow that become them. Others (floats, 32-bit integers, Lab) are
# refused.
_MODES = {
    "L": ("L", "1"),
    "LA": ("LA", "La"),
    "RGB": ("RGB", "RGBX", "P", "CMYK", "YCbCr"),
    "RGBA": ("RGBA", "RGBa", "PA"),
}
_EXIF_ORIENTATION = 0x0112
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_TIFF_PROFILE = 34675
# One page of full resolution and reduced copies, each half as long as the one before.
_MAX_TIFF_PAGES = 32


class Picture(NamedTuple):
    """An image and how its colours are meant.

    Attributes:
        pixels: uint8 or uint16 of shape (H, W), (H, W, 2), (H, W, 3) or (H, W, 4).
        icc_profile: the ICC profile of these pixels, or None if the file has none that fits them.
        metadata: what else the file carries.
    """

    pixels: np.ndarray
    icc_profile: bytes | None
    metadata: Metadata = Metadata()


def decode(data: bytes) -> Picture:
    """Decodes a file's content, whose first bytes tell the format.

    Raises:
        ValueError: a format that is not read.
        Exception: nearly any other, from the decoders, if it is corrupt.
    """
    pixels, profile, metadata = _decode(data)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if profile is not None and not profiles.fits(profile, channels):
        profile = None
    return Picture(np.ascontiguousarray(pixels), profile, metadata)


def decode_size(stream: BinaryIO) -> tuple[int, int]:
    """(height, width) by a file's header, as stored: not turned by an EXIF orientation.

    Raises:
        ValueError, Exception: see `decode`.
    """
    kind = _kind(stream.read(12))
    stream.seek(0)
    if kind is TiffImageFile:
        import tifffile  # imports imagecodecs, which is large

        with tifffile.TiffFile(stream) as tiff:
            width, height = tiff.pages.first.imagewidth, tiff.pages.first.imagelength
    else:
        width, height = kind(stream).size
    _check_pixels(width, height)
    return height, width


def _decode(data: bytes) -> Picture:
    """Pixels, with the profile that the file embeds, fitting or not."""
    kind = _kind(data)
    if kind is PngImageFile:
        return _decode_png(data)
    if kind is TiffImageFile:
        return _decode_tiff(data)
    if kind in (Jpeg2KImageFile, AvifImageFile):
        # Pillow reduces more to 8 bits in silence.
        bits = _depth_of_jpeg2000(data) if kind is Jpeg2KImageFile else _depth_of_avif(data)
        if bits > 8:
            raise ValueError(f"samples of {bits} bits, of this format 8 are read: save it as PNG")
    image = kind(io.BytesIO(data))
    return _decode_with_pillow(image, metadata_of.of_pillow(image))


def _kind(data: bytes) -> type[ImageFile.ImageFile]:
    """The format of a file, by its first twelve bytes.

    It names Pillow's plugins, which are used in place of Image.open: then MAX_PIXELS decides what
    is too large, not a process-wide setting; and a JPEG with a preview attached is just a JPEG.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return TiffImageFile
    if data.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return WebPImageFile
    if data.startswith(b"BM"):
        return BmpImageFile
    if data.startswith((b"GIF87a", b"GIF89a")):
        return GifImageFile
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return AvifImageFile
    if data.startswith((_JP2, b"\xff\x4f\xff\x51")):
        return Jpeg2KImageFile
    raise ValueError(
        "not a PNG, JPEG, TIFF, WebP, BMP, GIF, AVIF or JPEG 2000 file"
        if data
        else "the file is empty"
    )


def _decode_with_pillow(image: ImageFile.ImageFile, metadata: Metadata) -> Picture:
    _check_pixels(*image.size)
    frames = getattr(image, "n_frames", 1)
    if frames != 1 and not isinstance(image, TiffImageFile | GifImageFile):
        raise ValueError(f"it holds {frames} images, expected one")
    mode = next((mode for mode, sources in _MODES.items() if image.mode in sources), None)
    if mode is None:
        raise ValueError(
            f"pixels of Pillow's mode {image.mode!r}; expected 8 or 16 bits grey, RGB or CMYK"
        )
    image.load()
    orientation = _orientation(image.getexif())
    profile = image.info.get("icc_profile")
    if "transparency" in image.info:
        mode = {"L": "LA", "RGB": "RGBA"}.get(mode, mode)
    converted: Image.Image = image
    if image.mode == "CMYK":
        converted, profile = profiles.cmyk_to_srgb(image, profile), None
    elif image.mode != mode:
        converted = image.convert(mode)
    return Picture(_orient(np.asarray(converted), orientation), profile, metadata)


def _decode_png(data: bytes) -> Picture:
    image = PngImageFile(io.BytesIO(data))
    # IHDR comes first: signature (8), length and name (8), width (4), height (4), depth (1).
    width, height, depth = struct.unpack(">IIB", data[16:25])
    metadata = metadata_of.of_png(PngImageFile(io.BytesIO(data)), data)
    if depth != 16:
        return _decode_with_pillow(image, metadata)
    # Pillow reduces 16-bit RGB to 8 bits in silence.
    import imagecodecs  # large, and only needed for these files

    _check_pixels(width, height)
    exif = Image.Exif()
    exif.load(image.info.get("exif", b""))
    pixels = _orient(imagecodecs.png_decode(data), _orientation(exif))
    return Picture(pixels, image.info.get("icc_profile"), metadata)


def _depth_of_jpeg2000(data: bytes) -> int:
    # SIZ (ISO/IEC 15444-1, A.5.1): marker, 36 bytes of sizes, the number of components, and of
    # each its depth less one, the highest bit for its sign, and two bytes more.
    size = data.index(b"\xff\x4f\xff\x51")
    (count,) = struct.unpack(">H", data[size + 40 : size + 42])
    return max(data[size + 42 : size + 42 + 3 * count : 3]) % 128 + 1


def _depth_of_avif(data: bytes) -> int:
    # av1C (AV1 Codec ISO Media File Format Binding, 2.3.3): two bytes, then the bits seq_tier_0,
    # high_bitdepth and twelve_bit.
    flags = data[data.index(b"av1C") + 6]
    return 8 if not flags & 0x40 else 12 if flags & 0x20 else 10


def _decode_tiff(data: bytes) -> Picture:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        _check_pixels(page.imagewidth, page.imagelength)
        # The list of pages may be circular.
        pages = list(itertools.islice(tiff.pages, _MAX_TIFF_PAGES))
        full = [other for other in pages if not other.aspage().is_reduced]
        if len(full) > 1 or len(pages) == _MAX_TIFF_PAGES:
            raise ValueError("it holds several pages, expected one")
        ends = [start + n for start, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > len(data):
            raise ValueError("the file is truncated")
        _check_bands(page)
        if page.bitspersample <= 8:
            with warnings.catch_warnings():
                # Of strips that Pillow calls too large; the pixels are counted above.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = TiffImageFile(io.BytesIO(data))
                return _decode_with_pillow(image, metadata_of.of_pillow(image))
        if page.dtype != np.uint16 or page.bitspersample != 16:
            raise ValueError(
                f"samples of {page.bitspersample} bits ({page.dtype}), expected 8 or 16 bits"
            )
        return Picture(_arrange_tiff(page), page.tags.valueof(_TIFF_PROFILE))


def _check_bands(page: "tifffile.TiffPage") -> None:
    """Raises ValueError for bands that are neither colour nor opacity, such as infrared."""
    import tifffile

    alpha = (tifffile.EXTRASAMPLE.UNASSALPHA, tifffile.EXTRASAMPLE.ASSOCALPHA)
    colours = {"RGB": 3, "YCBCR": 3, "CIELAB": 3, "SEPARATED": 4}
    name = getattr(page.photometric, "name", "")
    extra = page.samplesperpixel - colours.get(name, 1)
    if extra > 1 or (extra == 1 and not set(page.extrasamples[:1]) & set(alpha)):
        raise ValueError(
            f"it has {page.samplesperpixel} bands, expected grey or RGB, with opacity at most: "
            "save it without the others"
        )


def _arrange_tiff(page: "tifffile.TiffPage") -> np.ndarray:
    """A 16-bit page as (H, W) or (H, W, C), upright, alpha last if there is one."""
    import tifffile

    photometric = tifffile.PHOTOMETRIC
    known = (photometric.MINISWHITE, photometric.MINISBLACK, photometric.RGB)
    if page.photometric not in known or page.axes not in ("YX", "YXS", "SYX"):
        raise ValueError("a 16-bit TIFF of an unknown layout, expected grey or RGB")
    image = page.asarray()
    if page.axes == "YX":
        image = image[..., None]
    elif page.axes == "SYX":
        image = np.moveaxis(image, 0, -1)
    channels = 3 if page.photometric == photometric.RGB else 1
    if page.photometric == photometric.MINISWHITE:
        image = np.concatenate([65535 - image[..., :1], image[..., 1:]], axis=-1)
    extras = [tifffile.EXTRASAMPLE(extra) for extra in page.extrasamples]
    if tifffile.EXTRASAMPLE.ASSOCALPHA in extras:
        raise ValueError("16-bit premultiplied alpha, expected plain alpha: save it unassociated")
    has_alpha = extras[:1] == [tifffile.EXTRASAMPLE.UNASSALPHA]
    image = image[..., : channels + has_alpha]
    orientation = page.tags.valueof(_EXIF_ORIENTATION, 1)
    return _orient(image[..., 0] if image.shape[2] == 1 else image, orientation)


def _orientation(exif: Image.Exif) -> int:
    return int(exif.get(_EXIF_ORIENTATION, 1))


def _orient(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turns stored pixels upright, by the EXIF (TIFF) orientation 1..8."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"it claims {width} x {height} pixels, at most {MAX_PIXELS} are read")
