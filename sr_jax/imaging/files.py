"""Image files in and out, with 8 or 16 bits a sample.

PNG, JPEG, TIFF, WebP, AVIF and BMP are read and written; GIF and JPEG 2000 are read.

Arrays keep the bit depth and the channels of the file: uint8 or uint16 of shape (H, W) grey,
(H, W, 2) grey + alpha, (H, W, 3) RGB or (H, W, 4) RGBA, alpha not premultiplied. The bit depth is
the one that the file declares; it is never guessed from the values.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from sr_jax.imaging.decoding import MAX_PIXELS as MAX_PIXELS
from sr_jax.imaging.decoding import Picture as Picture
from sr_jax.imaging.decoding import decode, decode_size
from sr_jax.imaging.encoding import encode
from sr_jax.imaging.metadata import Metadata
from sr_jax.storage import write_bytes

# Formats that are written, by file suffix (lower case).
WRITTEN = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WebP",
    ".avif": "AVIF",
    ".bmp": "BMP",
}
# Suffixes of files that are read.
SUFFIXES = (*WRITTEN, ".jfif", ".jpe", ".gif", ".jp2")

JPEG_BEGINS = b"\xff\xd8\xff"

# Twice the raw samples of the largest picture; a longer file is not opened.
MAX_BYTES = 2 * 8 * MAX_PIXELS


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """The pixels of an image file, see `read_picture`."""
    return read_picture(path).pixels


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Reads an image file; the content decides the format, not the name.

    Palettes are expanded, one-bit images become 8-bit grey, a transparent colour becomes an alpha
    channel and the EXIF orientation is applied. Of a GIF the first frame is read; other files of
    several images (animations, multi-page TIFF) are refused; reduced-resolution pages of TIFF are
    skipped.

    An ICC profile of the image's own kind (grey for grey, RGB for RGB) comes with the pixels, which
    stay as they are. CMYK becomes sRGB: through the profile that the file embeds (relative
    colorimetric), else by the plain formula (255 - ink) (255 - black) / 255; no profile comes with
    it. Profiles that fit neither are left out. Exif, resolution, gAMA and cICP come too; all other
    metadata is left out.

    Args:
        path: the file.

    Returns:
        Pixels in uint8 or uint16, as the file has 8 (or fewer) or 16 bits a sample, of shape
        (H, W), (H, W, 2), (H, W, 3) or (H, W, 4); their ICC profile or None; and metadata.

    Raises:
        ValueError: if the file is missing, no regular file, corrupt, truncated, of more than
            `MAX_PIXELS` pixels or of a kind not described above. The message is one line that
            names the file.
    """
    return decode_picture(read_content(path), os.fspath(path))


def read_content(path: str | os.PathLike[str]) -> bytes:
    """What an image file holds, undecoded.

    Raises:
        ValueError: it is missing, no regular file or too long for an image.
    """
    with _open(Path(path)) as stream:
        return stream.read()


def decode_picture(content: bytes, name: str) -> Picture:
    """As `read_picture`, of what a file holds.

    Args:
        content: of the file.
        name: what messages call the file.

    Raises:
        ValueError: see `read_picture`.
    """
    with reading(name):
        return decode(content)


def read_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """(height, width) of an image by the header of its file, which is quick.

    As stored: where an EXIF orientation turns the image, `read_picture` returns (width, height).

    Raises:
        ValueError: see `read_picture`, of what the header shows; the rest may be broken still.
    """
    with _open(Path(path)) as stream:
        return decode_size(stream)


def is_jpeg(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as JPEG does, whatever its name is; False where it cannot be read."""
    with contextlib.suppress(ValueError, OSError), _open(Path(path)) as file:
        return file.read(3) == JPEG_BEGINS
    return False


def write_image(
    path: str | os.PathLike[str],
    image: np.ndarray,
    *,
    icc_profile: bytes | None = None,
    metadata: Metadata = Metadata(),
    quality: int | None = None,
) -> None:
    """Writes an image file in the format that the suffix of `path` names.

    PNG and TIFF store all layouts at 8 and 16 bits; WebP and AVIF store 8-bit RGB and RGBA; JPEG
    and BMP store 8-bit grey and RGB. JPEG and AVIF keep the full chroma resolution. All but BMP
    store an ICC profile. Parent folders are made. The file appears whole or not at all: it is
    written under a temporary name beside its place and renamed.

    Args:
        path: the file; it is replaced if it exists.
        image: uint8 or uint16 of shape (H, W), (H, W, 1), (H, W, 2), (H, W, 3) or (H, W, 4).
        icc_profile: the ICC profile of these pixels, as `read_picture` returns it, or None.
        metadata: what the file shall carry too, as `read_picture` returns it. PNG keeps it all,
            JPEG, WebP and AVIF Exif, TIFF what Exif says in text, BMP none of it; all formats but
            WebP and AVIF keep the resolution.
        quality: of JPEG, WebP and AVIF, from 1 to 100; None is 95, lossless and 90.

    Raises:
        ValueError: if the suffix is unknown, or the format cannot store this dtype, shape, size,
            profile, quality or curve of light (gAMA, cICP), or the profile is of another layout
            than the image; nothing has been written then.
        OSError: if the file system refuses.
    """
    if Path(path).is_dir():
        raise ValueError(f"cannot write image {path}: it is a folder")
    content = encode_picture(os.fspath(path), image, icc_profile, metadata, quality)
    write_bytes(path, content)


def encode_picture(
    name: str,
    image: np.ndarray,
    icc_profile: bytes | None = None,
    metadata: Metadata = Metadata(),
    quality: int | None = None,
) -> bytes:
    """What `write_image` writes to a file of this name; the other arguments are as there.

    Raises:
        ValueError: see `write_image`.
    """
    image = np.asarray(image)
    suffix = PurePath(name).suffix
    kind = WRITTEN.get(suffix.lower())
    if kind is None:
        raise ValueError(
            f"cannot write image {name}: unknown suffix {suffix!r}, "
            f"expected one of {', '.join(WRITTEN)}"
        )
    _check_integer_image(image, f"cannot write image {name}: ")
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    try:
        return encode(image, kind, icc_profile, metadata, quality)
    except (ValueError, ImportError) as error:
        raise ValueError(f"cannot write image {name}: {error}") from error


def to_float(image: np.ndarray, dtype: npt.DTypeLike = np.float32) -> np.ndarray:
    """Integers 0..255 or 0..65535 to floats in [0, 1].

    >>> to_float(np.array([0, 51, 255], np.uint8), np.float64).tolist()
    [0.0, 0.2, 1.0]

    Args:
        image: uint8 or uint16, any shape.
        dtype: the floating dtype to return.

    Returns:
        `image` divided by 255 or 65535, same shape.

    Raises:
        ValueError: if `image` is neither uint8 nor uint16.
    """
    image = np.asarray(image)
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"image has dtype {image.dtype}, expected uint8 or uint16")
    return image.astype(dtype) / np.asarray(np.iinfo(image.dtype).max, dtype)


def from_float(image: np.ndarray, dtype: npt.DTypeLike = np.uint8) -> np.ndarray:
    """Floats to integers: clipped to [0, 1], scaled to the full range, rounded half up.

    >>> from_float(np.array([-0.1, 0.2, 0.5, 7.0])).tolist()
    [0, 51, 128, 255]

    Args:
        image: floating, any shape; black is 0 and white 1.
        dtype: `np.uint8` or `np.uint16`.

    Returns:
        Integers of that dtype, same shape.

    Raises:
        ValueError: if `image` is not floating or holds NaN, or `dtype` is another one.
    """
    image = np.asarray(image)
    if np.dtype(dtype) not in (np.uint8, np.uint16):
        raise ValueError(f"dtype is {np.dtype(dtype)}, expected uint8 or uint16")
    if image.dtype.kind != "f":
        raise ValueError(f"image has dtype {image.dtype}, expected floats in [0, 1]")
    if np.isnan(image).any():
        raise ValueError("image holds NaN, expected finite values: the network's output is broken")
    # Half precision cannot hold all 16-bit integers.
    scaled = image.clip(0, 1).astype(np.promote_types(image.dtype, np.float32))
    return np.floor(scaled * np.iinfo(np.dtype(dtype)).max + 0.5).astype(dtype)


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Any layout of `read_image` to RGB: grey is replicated, alpha is dropped.

    Args:
        image: uint8 or uint16 of shape (H, W) or (H, W, 1 to 4).

    Returns:
        An array of shape (H, W, 3) in the same dtype.

    Raises:
        ValueError: if the dtype or the shape is another one.
    """
    image = np.asarray(image)
    _check_integer_image(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.shape[2] < 3:
        return np.repeat(image[..., :1], 3, axis=2)
    return image[..., :3]


@contextlib.contextmanager
def reading(name: str) -> Iterator[None]:
    """Makes one line of whatever goes wrong while an image file is read.

    Args:
        name: what the line calls the file.

    Raises:
        ValueError: anything was raised within.
    """
    try:
        yield
    except Exception as error:  # On corrupt data decoders raise nearly everything.
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, FileNotFoundError):
            reason = "no such file"
        elif isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        elif isinstance(error, ImportError):
            reason = f"files of this kind need {error.name}: run `pip install {error.name}`"
        elif not isinstance(error, ValueError):
            reason = f"corrupt or truncated ({reason})"
        raise ValueError(f"cannot read image {name}: {reason}") from error


@contextlib.contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    """Opens a regular file of a plausible size; a pipe or a device could last for ever.

    Whatever goes wrong, here or with what is read, becomes a ValueError of one line.
    """
    with reading(os.fspath(path)):
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ValueError("it is a folder")
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is a pipe or a device, expected a file")
        if status.st_size > MAX_BYTES:
            raise ValueError(f"it has {status.st_size} bytes, at most {MAX_BYTES} are read")
        with path.open("rb") as stream:
            yield stream


def _check_integer_image(image: np.ndarray, prefix: str = "") -> None:
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{prefix}dtype {image.dtype}, expected uint8 or uint16: convert with from_float"
        )
    if image.ndim not in (2, 3) or (image.ndim == 3 and not 1 <= image.shape[2] <= 4):
        raise ValueError(
            f"{prefix}shape {image.shape}, expected (H, W) or (H, W, C) with C from 1 to 4"
        )
    if 0 in image.shape:
        raise ValueError(f"{prefix}shape {image.shape} has no pixels")
