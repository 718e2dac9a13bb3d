"""Image files of rare kinds, and those that are broken."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from pictures import noise, png, png_chunk, png_rows
from PIL import Image

from sr_jax.imaging.files import (
    read_image,
    read_size,
    write_image,
)


def test_dark_16_bit_images_stay_16_bit(tmp_path: Path) -> None:
    """The depth comes from the file: values that fit 8 bits prove nothing."""
    image = np.arange(12, dtype=np.uint16).reshape(2, 2, 3)
    for name in ("a.png", "a.tif"):
        write_image(tmp_path / name, image)
        result = read_image(tmp_path / name)
        assert result.dtype == np.uint16
        np.testing.assert_array_equal(result, image)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    "options",
    [
        {"planarconfig": "separate"},
        {"compression": "lzw"},
        {"tile": (16, 16)},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"rowsperstrip": 2},
    ],
    ids=str,
)
def test_tiff_variants(tmp_path: Path, options: dict, bits: int) -> None:
    image = noise((20, 18, 3), bits)
    planes = np.moveaxis(image, -1, 0) if "planarconfig" in options else image
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", **options)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_white_is_zero(tmp_path: Path, bits: int) -> None:
    image = noise((5, 4), bits)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.iinfo(image.dtype).max - image)


def test_tiff_thumbnail_is_passed_over(tmp_path: Path) -> None:
    image = noise((8, 6, 3), 16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(image, photometric="rgb")
        tiff.write(image[::2, ::2], photometric="rgb", subfiletype=1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


def test_16_bit_png_with_a_clear_colour(tmp_path: Path) -> None:
    image = noise((5, 4, 3), 16)
    clear = png_chunk(b"tRNS", struct.pack(">HHH", *image[2, 1]))
    (tmp_path / "a.png").write_bytes(png((4, 5, 16, 2, 0, 0, 0), png_rows(image), clear))
    result = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(result[..., :3], image)
    alpha = np.full((5, 4), 65535)
    alpha[2, 1] = 0
    np.testing.assert_array_equal(result[..., 3], alpha)


def test_16_bit_interlaced_png(tmp_path: Path) -> None:
    image = noise((13, 17, 3), 16)
    steps = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    passes = b"".join(
        png_rows(image[row::down, column::right]) for row, column, down, right in steps
    )
    (tmp_path / "a.png").write_bytes(png((17, 13, 16, 2, 0, 0, 1), passes))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)


@pytest.mark.parametrize(
    ("suffix", "bits"),
    [(".png", 8), (".png", 16), (".tif", 8), (".tif", 16), (".jpg", 8), (".webp", 8), (".bmp", 8)],
)
def test_truncated(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, bits: int
) -> None:
    """One ValueError in one line, and nothing printed by the decoders behind our back."""
    path = tmp_path / f"cut{suffix}"
    write_image(path, noise((40, 30, 3), bits))
    whole = path.read_bytes()
    for length in (len(whole) * 99 // 100, len(whole) // 2, len(whole) // 20, 20, 9, 4, 3, 2):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=rf"^cannot read image .*cut{suffix}: .+") as raised:
            read_image(path)
        assert "\n" not in str(raised.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".bmp"])
def test_size_needs_the_header_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str
) -> None:
    """Of WebP alone the decoder wants the whole file."""
    path = tmp_path / f"cut{suffix}"
    if suffix == ".tif":  # whose header may lie behind the pixels, but not here
        tifffile.imwrite(path, noise((40, 30, 3)), photometric="rgb")
    else:
        write_image(path, noise((40, 30, 3)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 9 // 10])
    assert read_size(path) == (40, 30)
    path.write_bytes(whole[:9])
    with pytest.raises(ValueError, match=rf"^cannot read image .*cut{suffix}: .+"):
        read_size(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("suffix", "bits"), [(".png", 8), (".png", 16), (".tif", 8), (".tif", 16)])
def test_damaged_checksummed_formats(tmp_path: Path, suffix: str, bits: int) -> None:
    """JPEG, WebP and BMP carry no checksum: damage there may decode to other pixels."""
    path = tmp_path / f"damaged{suffix}"
    write_image(path, noise((40, 40, 3), bits))
    damaged = bytearray(path.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 8] = b"\xff\x00\xaa\x55\x12\x34\x56\x78"
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=f"cannot read image .*damaged{suffix}: corrupt"):
        read_image(path)


MALFORMED = [
    pytest.param(b"", "the file is empty", id="empty"),
    pytest.param(b"hello, world", "not a PNG, JPEG, TIFF, WebP, BMP, GIF, AVIF", id="text"),
    pytest.param(b"GIF89a" + bytes(40), "corrupt or truncated", id="GIF of zeros"),
    pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(40), "corrupt or truncated", id="PNG of zeros"),
    pytest.param(b"\xff\xd8\xff" + bytes(40), "corrupt or truncated", id="JPEG of zeros"),
    pytest.param(b"II*\0" + bytes(40), ".", id="TIFF of zeros"),
    pytest.param(b"BM" + bytes(60), ".", id="BMP of zeros"),
    pytest.param(b"RIFF0000WEBP" + bytes(40), ".", id="WebP of zeros"),
    pytest.param(png((0, 5, 8, 2, 0, 0, 0), b""), ".", id="no width"),
    pytest.param(png((5, 5, 16, 2, 0, 0, 0), b""), ".", id="no pixels"),
    pytest.param(png((9, 9, 7, 2, 0, 0, 0), b""), ".", id="seven bits"),
    pytest.param(png((99999, 99999, 8, 2, 0, 0, 0), b""), "99999 x 99999 pixels", id="huge"),
    pytest.param(png((99999, 99999, 16, 2, 0, 0, 0), b""), "99999 x 99999 pixels", id="huge, 16"),
]


@pytest.mark.parametrize(("content", "message"), MALFORMED)
def test_malformed(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(ValueError, match=f"^cannot read image .*bad.png: .*{message}") as raised:
        read_image(tmp_path / "bad.png")
    assert "\n" not in str(raised.value)


def save_twice(path: Path) -> None:
    first, second = Image.fromarray(noise((8, 6, 3))), Image.fromarray(noise((8, 6, 3))[::-1])
    first.save(path, save_all=True, append_images=[second])


UNSUPPORTED = [
    pytest.param("a.png", save_twice, "holds 2 images", id="animated PNG"),
    pytest.param("a.webp", save_twice, "holds 2 images", id="animated WebP"),
    pytest.param("a.tif", save_twice, "several pages", id="two pages"),
    pytest.param(
        "a.tif",
        lambda p: tifffile.imwrite(p, np.zeros((4, 4), np.float32)),
        "32 bits \\(float32\\)",
        id="float TIFF",
    ),
    pytest.param(
        "a.tif",
        lambda p: tifffile.imwrite(p, np.zeros((4, 4), np.int16)),
        "16 bits \\(int16\\)",
        id="signed TIFF",
    ),
    pytest.param(
        "a.tif",
        lambda p: Image.fromarray(noise((4, 4, 3))).convert("LAB").save(p),
        "mode 'LAB'",
        id="Lab TIFF",
    ),
    pytest.param(
        "a.tif",
        lambda p: tifffile.imwrite(
            p, noise((4, 4, 4), 16), photometric="rgb", extrasamples=["assocalpha"]
        ),
        "premultiplied",
        id="premultiplied",
    ),
    pytest.param(
        "a.tif",
        lambda p: tifffile.imwrite(p, noise((4, 4, 4), 16), photometric="separated"),
        "expected grey or RGB",
        id="16-bit CMYK",
    ),
]


@pytest.mark.parametrize(("name", "save", "message"), UNSUPPORTED)
def test_unsupported(tmp_path: Path, name: str, save: Callable[[Path], None], message: str) -> None:
    save(tmp_path / name)
    with pytest.raises(ValueError, match=f"cannot read image .*{name}: .*{message}"):
        read_image(tmp_path / name)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ValueError, match="it is a folder"):
        read_image(str(tmp_path))
    with pytest.raises(ValueError, match="it is a folder"):
        read_size(tmp_path)
