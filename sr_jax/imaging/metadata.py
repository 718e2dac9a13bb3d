"""What an image file carries beside pixels and colour profile: date and place, resolution, light.

Layouts are those of the PNG specification (third edition, section 11.3) and of Exif 2.3.
"""

import contextlib
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from PIL import Image

# Tags of Exif's first directory that say something of a picture, not how its pixels are stored:
# description, make, model, software, date, artist, copyright.
_DESCRIPTIVE = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_SIZES = (0xA002, 0xA003)  # of the picture, which an upscaled one has not
_METRE = 100 / 2.54  # inches


@dataclass(frozen=True)
class Metadata:
    """What is kept when pixels change; what a file has not is None.

    Attributes:
        exif: an Exif block with what says something of the picture: date, place, camera, author.
        dpi: horizontal and vertical pixels an inch, as the file says.
        gamma: of PNG's gAMA, encoding gamma times 100,000.
        cicp: of PNG's cICP, primaries, transfer, matrix and range: four bytes.
    """

    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    gamma: int | None = None
    cicp: bytes | None = None

    def is_unlike_srgb(self) -> bool:
        """Whether gamma or cicp asks for another curve of light than what files mean by default."""
        # 45455 stands for sRGB; 1, 13 are sRGB's primaries and transfer.
        if self.cicp is not None:
            return self.cicp[:2] != b"\x01\x0d"
        return self.gamma is not None and abs(self.gamma - 45455) > 100


def of_pillow(image: Image.Image) -> Metadata:
    """Of an image that Pillow has opened."""
    return Metadata(exif=_upright(image.getexif()), dpi=_dpi(image.info.get("dpi")))


def of_png(image: Image.Image, data: bytes) -> Metadata:
    """Of a PNG file that Pillow has opened, and its content."""
    chunks = _chunks(data)
    gamma = chunks.get(b"gAMA", b"")
    cicp = chunks.get(b"cICP", b"")
    exif = Image.Exif()  # not that of `getexif`, which decodes the pixels first
    with contextlib.suppress(Exception):  # what a damaged block brings about in Pillow
        exif.load(chunks.get(b"eXIf", b""))
    return Metadata(
        exif=_upright(exif),
        dpi=_dpi(image.info.get("dpi")),
        gamma=struct.unpack(">I", gamma)[0] if len(gamma) == 4 else None,
        cicp=cicp if len(cicp) == 4 else None,
    )


def png_chunks(metadata: Metadata) -> bytes:
    """The chunks of a PNG file that say this; they come after IHDR and iCCP, before the pixels."""
    content = b""
    if metadata.cicp is not None:
        content += chunk(b"cICP", metadata.cicp)
    if metadata.gamma is not None:
        content += chunk(b"gAMA", struct.pack(">I", metadata.gamma))
    if metadata.dpi is not None:
        each = (round(value * _METRE) for value in metadata.dpi)
        content += chunk(b"pHYs", struct.pack(">IIB", *each, 1))
    if metadata.exif is not None:
        content += chunk(b"eXIf", metadata.exif)
    return content


def tiff_tags(metadata: Metadata) -> list[tuple[int, str, int, str, bool]]:
    """What Exif says in tags of text, which are TIFF's own, as tifffile takes them."""
    if metadata.exif is None:
        return []
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + metadata.exif)
    found = {tag: exif.get(tag) for tag in _DESCRIPTIVE}
    # tifffile writes ASCII alone.
    return [
        (tag, "s", 0, text, True)
        for tag, text in found.items()
        if isinstance(text, str) and text.isascii()
    ]


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG file before its pixels, the first of each name."""
    found: dict[bytes, bytes] = {}
    place = 8
    while place + 8 <= len(data):
        length, name = struct.unpack(">I4s", data[place : place + 8])
        if name == b"IDAT":
            break
        found.setdefault(name, data[place + 8 : place + 8 + length])
        place += length + 12
    return found


def _upright(exif: Image.Exif) -> bytes | None:
    try:
        kept = Image.Exif()
        kept.update({tag: exif[tag] for tag in _DESCRIPTIVE if tag in exif})
        for ifd in (_EXIF_IFD, _GPS_IFD):
            inner = {tag: v for tag, v in exif.get_ifd(ifd).items() if tag not in _SIZES}
            if inner:
                kept.get_ifd(ifd).update(inner)
                kept[ifd] = kept.get_ifd(ifd)
        content = kept.tobytes() if len(kept) else b""
    except Exception:  # a damaged block, on which Pillow raises almost anything, costs itself alone
        return None
    return content.removeprefix(b"Exif\0\0") or None


def _dpi(value: Any) -> tuple[float, float] | None:
    try:
        found = float(value[0]), float(value[1])
    except (TypeError, ValueError, IndexError, ZeroDivisionError):
        return None
    return found if all(math.isfinite(v) and 1 <= v < 1e6 for v in found) else None
