"""Pictures that several test files store by hand."""

import struct
import zlib

import numpy as np

LAYOUTS = {"grey": (13, 17), "grey+alpha": (13, 17, 2), "rgb": (13, 17, 3), "rgba": (13, 17, 4)}


def noise(shape: tuple[int, ...], bits: int = 8) -> np.ndarray:
    """All values of the type, and under alpha too."""
    values = np.random.default_rng(0).integers(0, 1 << bits, shape)
    return values.astype(np.uint8 if bits == 8 else np.uint16)


def png(header: tuple[int, ...], pixels: bytes, chunks: bytes = b"") -> bytes:
    """A PNG file by hand: header is width, height, depth, colour type, 0, 0, interlacing."""
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", *header))
        + chunks
        + png_chunk(b"IDAT", zlib.compress(pixels))
        + png_chunk(b"IEND", b"")
    )


def png_chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png_rows(image: np.ndarray) -> bytes:
    """Unfiltered rows of 16-bit samples."""
    return b"".join(b"\0" + row.astype(">u2").tobytes() for row in image)
