"""Image files in and out: PNG, JPEG, TIFF, WebP and BMP, with 8 or 16 bits a sample.

Arrays keep the bit depth and the channels of the file: uint8 or uint16 of shape (H, W) grey,
(H, W, 2) grey + alpha, (H, W, 3) RGB or (H, W, 4) RGBA, alpha not premultiplied. The bit depth is
the one that the file declares; it is never guessed from the values.
"""

import io
import os
import struct
import uuid
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

# Formats by file suffix (lower case).
SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WebP",
    ".bmp": "BMP",
}

# A file whose header promises more than this (16384 squared) is refused before it is decoded.
MAX_PIXELS = 1 << 28

# What each format can store without loss of channels or depth: bits -> numbers of channels.
_LAYOUTS: dict[str, dict[int, tuple[int, ...]]] = {
    "PNG": {8: (1, 2, 3, 4), 16: (1, 2, 3, 4)},
    "TIFF": {8: (1, 2, 3, 4), 16: (1, 2, 3, 4)},
    "JPEG": {8: (1, 3)},
    "WebP": {8: (3, 4)},
    "BMP": {8: (1, 3)},
}
_MAX_SIDE = {"JPEG": 65500, "WebP": 16383}
_CHANNEL_NAMES = {1: "grey", 2: "grey + alpha", 3: "RGB", 4: "RGBA"}

# What is made of Pillow's modes. Others (floats, 32-bit integers, Lab) are refused.
_MODES = {
    "L": ("L", "1"),
    "LA": ("LA", "La"),
    "RGB": ("RGB", "RGBX", "P", "CMYK", "YCbCr"),
    "RGBA": ("RGBA", "RGBa", "PA"),
}
_EXIF_ORIENTATION = 0x0112


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a PNG, JPEG, TIFF, WebP or BMP file; the format is told by content, not by name.

    Palettes are expanded, one-bit images become 8-bit grey, CMYK becomes RGB, a transparent colour
    becomes an alpha channel and the EXIF orientation is applied. Files of several images
    (animations, multi-page TIFF) are refused; reduced-resolution TIFF pages are passed over.

    Args:
        path: the file.

    Returns:
        uint8 or uint16, as the file has 8 (or fewer) or 16 bits a sample, of shape (H, W),
        (H, W, 2), (H, W, 3) or (H, W, 4).

    Raises:
        ValueError: if the file is missing, corrupt, truncated, of more than `MAX_PIXELS` pixels or
            of a kind not described above. The message is one line that names the file.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"cannot read image {path}: no such file") from None
    except IsADirectoryError:
        raise ValueError(f"cannot read image {path}: it is a folder") from None
    except OSError as error:
        raise ValueError(f"cannot read image {path}: {error.strerror}") from error
    try:
        return np.ascontiguousarray(_decode(data))
    except Exception as error:  # On corrupt data decoders raise nearly everything.
        reason = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, ValueError):
            reason = f"corrupt or truncated ({reason})"
        raise ValueError(f"cannot read image {path}: {reason}") from error


def write_image(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Writes an image file in the format that the suffix of `path` names.

    PNG and TIFF store all layouts at 8 and 16 bits; WebP (lossless) stores 8-bit RGB and RGBA; JPEG
    (quality 95, full chroma resolution) and BMP store 8-bit grey and RGB. Parent folders are made.
    The file appears whole or not at all: it is written under a temporary name beside its place and
    renamed.

    Args:
        path: the file; it is replaced if it exists.
        image: uint8 or uint16 of shape (H, W), (H, W, 1), (H, W, 2), (H, W, 3) or (H, W, 4).

    Raises:
        ValueError: if the suffix is unknown, or the format cannot store this dtype, shape or size;
            nothing has been written then.
        OSError: if the file system refuses.
    """
    path = Path(path)
    image = np.asarray(image)
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"cannot write image {path}: unknown suffix {path.suffix!r}, "
            f"expected one of {', '.join(SUFFIXES)}"
        )
    _check_integer_image(image, f"cannot write image {path}: ")
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    channels = 1 if image.ndim == 2 else image.shape[2]
    bits = 8 * image.dtype.itemsize
    if channels not in _LAYOUTS[kind].get(bits, ()):
        raise ValueError(
            f"cannot write image {path}: {kind} cannot store {bits}-bit "
            f"{_CHANNEL_NAMES[channels]}; write a .png or .tif file, or convert the image first"
        )
    if max(image.shape[:2]) > _MAX_SIDE.get(kind, max(image.shape[:2])):
        raise ValueError(
            f"cannot write image {path}: {kind} stores at most {_MAX_SIDE[kind]} pixels a side, "
            f"the image has {image.shape[0]} x {image.shape[1]}; write a .png or .tif file"
        )
    if path.is_dir():
        raise ValueError(f"cannot write image {path}: it is a folder")

    write_bytes(path, _encode(np.ascontiguousarray(image), kind))


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file whole or not at all: under a temporary name beside its place, then renamed.

    Args:
        path: the file; it is replaced if it exists. Parent folders are made.
        content: what it shall hold.

    Raises:
        OSError: if the file system refuses.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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


def list_images(folder: str | os.PathLike[str]) -> list[Path]:
    """The image files under a folder, at any depth, sorted by path.

    A file counts by its suffix (`SUFFIXES`, upper or lower case). Names that begin with a dot
    (other programs' side files, unfinished writes) are passed over.

    Args:
        folder: the folder.

    Returns:
        Paths that begin with `folder`, at least one.

    Raises:
        ValueError: if there is no such folder or it holds no images.
    """
    folder = Path(folder)
    if not folder.is_dir():
        problem = "it is a file" if folder.exists() else "no such folder"
        raise ValueError(f"cannot list images of {folder}: {problem}")
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not paths:
        raise ValueError(
            f"cannot list images of {folder}: it holds no file named *{', *'.join(SUFFIXES)}"
        )
    return paths


def _decode(data: bytes) -> np.ndarray:
    """The pixels of a file's content; raises anything."""
    stream = io.BytesIO(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _decode_png(data)
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return _decode_tiff(data)
    # The plugins' classes rather than Image.open: what counts as too large is then MAX_PIXELS, not
    # a warning and a process-wide setting; and a JPEG with a preview attached is just a JPEG.
    if data.startswith(b"\xff\xd8\xff"):
        return _decode_with_pillow(JpegImageFile(stream))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _decode_with_pillow(WebPImageFile(stream))
    if data.startswith(b"BM"):
        return _decode_with_pillow(BmpImageFile(stream))
    if not data:
        raise ValueError("the file is empty")
    raise ValueError("not a PNG, JPEG, TIFF, WebP or BMP file")


def _decode_with_pillow(image: ImageFile.ImageFile) -> np.ndarray:
    _check_pixels(*image.size)
    frames = getattr(image, "n_frames", 1)
    if frames != 1 and not isinstance(image, TiffImageFile):
        raise ValueError(f"it holds {frames} images, expected one")
    mode = next((mode for mode, sources in _MODES.items() if image.mode in sources), None)
    if mode is None:
        raise ValueError(
            f"pixels of Pillow's mode {image.mode!r}; expected 8 or 16 bits grey, RGB or CMYK"
        )
    image.load()
    orientation = _orientation(image.getexif())
    if "transparency" in image.info:
        mode = {"L": "LA", "RGB": "RGBA"}.get(mode, mode)
    converted = image if image.mode == mode else image.convert(mode)
    return _orient(np.asarray(converted), orientation)


def _decode_png(data: bytes) -> np.ndarray:
    image = PngImageFile(io.BytesIO(data))
    # IHDR comes first: signature (8), length and name (8), width (4), height (4), depth (1).
    width, height, depth = struct.unpack(">IIB", data[16:25])
    if depth != 16:
        return _decode_with_pillow(image)
    # Pillow would cut the samples of 16-bit RGB to 8 bits without a word.
    _check_pixels(width, height)
    exif = Image.Exif()
    exif.load(image.info.get("exif", b""))
    return _orient(imagecodecs.png_decode(data), _orientation(exif))


def _decode_tiff(data: bytes) -> np.ndarray:
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        _check_pixels(page.imagewidth, page.imagelength)
        full = [other for other in tiff.pages if not other.aspage().is_reduced]
        if len(full) > 1:
            raise ValueError(f"it holds {len(full)} pages, expected one")
        ends = [start + n for start, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends, default=0) > len(data):
            raise ValueError("the file is truncated")
        if page.bitspersample <= 8:
            return _decode_with_pillow(TiffImageFile(io.BytesIO(data)))
        if page.dtype != np.uint16 or page.bitspersample != 16:
            raise ValueError(
                f"samples of {page.bitspersample} bits ({page.dtype}), expected 8 or 16 bits"
            )
        return _arrange_tiff(page)


def _arrange_tiff(page: tifffile.TiffPage) -> np.ndarray:
    """A 16-bit page as (H, W) or (H, W, C), upright, alpha last if there is one."""
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


def _encode(image: np.ndarray, kind: str) -> bytes:
    if kind == "PNG":
        return bytes(imagecodecs.png_encode(image))
    stream = io.BytesIO()
    if kind == "TIFF":
        channels = 1 if image.ndim == 2 else image.shape[2]
        tifffile.imwrite(
            stream,
            image,
            photometric="rgb" if channels >= 3 else "minisblack",
            planarconfig=None if channels == 1 else "contig",
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            compression="zlib",
            predictor=True,
            metadata=None,
        )
    elif kind == "JPEG":
        Image.fromarray(image).save(stream, "JPEG", quality=95, subsampling=0)
    elif kind == "WebP":
        # "exact" keeps the colour under fully transparent pixels.
        Image.fromarray(image).save(stream, "WEBP", lossless=True, exact=True)
    else:
        Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def _check_integer_image(image: np.ndarray, prefix: str = "") -> None:
    if image.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{prefix}dtype {image.dtype}, expected uint8 or uint16: convert with from_float"
        )
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in _CHANNEL_NAMES):
        raise ValueError(
            f"{prefix}shape {image.shape}, expected (H, W) or (H, W, C) with C from 1 to 4"
        )
    if 0 in image.shape:
        raise ValueError(f"{prefix}shape {image.shape} has no pixels")
