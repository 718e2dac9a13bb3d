"""From pixels to the content of an image file: PNG, JPEG, TIFF, WebP, AVIF and BMP."""

import io
import zlib
from typing import Any

import numpy as np
from PIL import Image

from sr_jax.imaging import profiles
from sr_jax.imaging.metadata import Metadata, chunk, png_chunks, tiff_tags

# What each format can store without loss of channels or depth: bits -> numbers of channels.
_LAYOUTS: dict[str, dict[int, tuple[int, ...]]] = {
    "PNG": {8: (1, 2, 3, 4), 16: (1, 2, 3, 4)},
    "TIFF": {8: (1, 2, 3, 4), 16: (1, 2, 3, 4)},
    "JPEG": {8: (1, 3)},
    "WebP": {8: (3, 4)},
    "AVIF": {8: (3, 4)},
    "BMP": {8: (1, 3)},
}
# libpng refuses more than a million; the two others are the formats' own limits.
_MAX_SIDE = {"PNG": 1_000_000, "JPEG": 65500, "WebP": 16383, "AVIF": 65535}
# What is lossy, and its quality unless another one is asked for; None is lossless.
_QUALITY = {"JPEG": 95, "WebP": None, "AVIF": 90}
CHANNEL_NAMES = {1: "grey", 2: "grey + alpha", 3: "RGB", 4: "RGBA"}
# Signature and IHDR, which every other chunk of a PNG file follows.
_PNG_HEAD = 33


def encode(
    image: np.ndarray,
    kind: str,
    icc_profile: bytes | None,
    metadata: Metadata = Metadata(),
    quality: int | None = None,
) -> bytes:
    """Encodes an image as the content of a file.

    Args:
        image: uint8 or uint16 of shape (H, W), (H, W, 2), (H, W, 3) or (H, W, 4).
        kind: one of the formats above.
        icc_profile: the ICC profile to embed, or None.
        metadata: what the file shall carry too. TIFF keeps what Exif says in plain tags, not place
            and exposure; BMP keeps the resolution alone; WebP and AVIF have none.
        quality: of JPEG, WebP and AVIF, from 1 to 100; None is 95, lossless and 90.

    Raises:
        ValueError: the format cannot store this layout, depth, size or a profile, or says nothing
            of the metadata's light curve; the profile is not one of this layout; a quality that
            cannot be.
    """
    channels = 1 if image.ndim == 2 else image.shape[2]
    bits = 8 * image.dtype.itemsize
    if channels not in _LAYOUTS[kind].get(bits, ()):
        raise ValueError(
            f"{kind} cannot store {bits}-bit {CHANNEL_NAMES[channels]}; "
            "write a .png or .tif file, or convert the image first"
        )
    if max(image.shape[:2]) > _MAX_SIDE.get(kind, max(image.shape[:2])):
        raise ValueError(
            f"{kind} stores at most {_MAX_SIDE[kind]} pixels a side, "
            f"the image has {image.shape[0]} x {image.shape[1]}; write a .tif file"
        )
    if icc_profile is not None:
        if kind == "BMP":
            raise ValueError("BMP cannot store a colour profile; write a .png or .tif file")
        if not profiles.fits(icc_profile, channels):
            raise ValueError(f"the colour profile is not one of {CHANNEL_NAMES[channels]} images")
    if kind != "PNG" and metadata.is_unlike_srgb():
        raise ValueError(f"{kind} cannot store the gAMA or cICP of this image; write a .png file")
    if quality is not None and (kind not in _QUALITY or not 1 <= quality <= 100):
        raise ValueError(
            f"quality is {quality}, expected 1 to 100"
            if kind in _QUALITY
            else f"{kind} is lossless: it has no quality"
        )
    if quality is None:
        quality = _QUALITY.get(kind)
    # A copy: `ascontiguousarray` keeps odd strides of axes of length 1.
    return _encode(np.array(image, order="C"), kind, icc_profile, metadata, quality)


def _encode(
    image: np.ndarray,
    kind: str,
    icc_profile: bytes | None,
    metadata: Metadata,
    quality: int | None,
) -> bytes:
    if kind == "PNG":
        import imagecodecs  # large, and only needed for these files

        # Room for what does not compress: imagecodecs' own is too little for tall, thin noise.
        room = 2 * image.nbytes + 64 * len(image) + 4096
        # Of 8 bits, run lengths alone are as small as zlib's default, and much faster.
        strategies = imagecodecs.PNG.STRATEGY
        strategy = strategies.RLE if image.dtype == np.uint8 else strategies.DEFAULT
        content = bytes(imagecodecs.png_encode(image, strategy=strategy, out=room))
        profile = b"" if icc_profile is None else _png_profile(icc_profile)
        # cICP and gAMA say what a profile says; a profile comes first where there are several.
        return content[:_PNG_HEAD] + profile + png_chunks(metadata) + content[_PNG_HEAD:]
    stream = io.BytesIO()
    if kind == "TIFF":
        import tifffile

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
            iccprofile=icc_profile,
            resolution=metadata.dpi,
            resolutionunit=None if metadata.dpi is None else "INCH",
            extratags=tiff_tags(metadata),
            software=False,
        )
        return stream.getvalue()
    options: dict[str, Any] = {} if metadata.dpi is None else {"dpi": metadata.dpi}
    if kind != "BMP":
        options |= {"icc_profile": icc_profile}
        if metadata.exif is not None:
            options |= {"exif": b"Exif\0\0" + metadata.exif}
    if kind in ("JPEG", "AVIF"):
        options |= {"quality": quality, "subsampling": "4:4:4"}
    elif kind == "WebP" and quality is None:
        # "exact" keeps the colour under fully transparent pixels.
        options |= {"lossless": True, "exact": True}
    elif kind == "WebP":
        options |= {"quality": quality, "method": 6}
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def _png_profile(icc_profile: bytes) -> bytes:
    """The chunk iCCP (PNG specification, section 11.3.2.3), which imagecodecs does not write."""
    return chunk(b"iCCP", b"ICC profile\0" + b"\0" + zlib.compress(icc_profile, 9))
