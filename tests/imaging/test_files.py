"""Image files: what is written is read back; other programs' files; files that are broken."""

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from sr_jax.imaging.files import (
    from_float,
    read_image,
    read_picture,
    read_size,
    to_float,
    to_rgb,
    write_image,
)

LAYOUTS = {"grey": (13, 17), "grey+alpha": (13, 17, 2), "rgb": (13, 17, 3), "rgba": (13, 17, 4)}
STORED = {
    (".png", 8): set(LAYOUTS),
    (".png", 16): set(LAYOUTS),
    (".tif", 8): set(LAYOUTS),
    (".tiff", 16): set(LAYOUTS),
    (".webp", 8): {"rgb", "rgba"},
    (".webp", 16): set(),
    (".avif", 8): {"rgb", "rgba"},
    (".avif", 16): set(),
    (".bmp", 8): {"grey", "rgb"},
    (".bmp", 16): set(),
    (".jpg", 8): {"grey", "rgb"},
    (".jpeg", 16): set(),
}
CELLS = [(suffix, bits, layout) for suffix, bits in STORED for layout in LAYOUTS]


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


@pytest.mark.parametrize(("suffix", "bits", "layout"), CELLS)
def test_round_trip(tmp_path: Path, suffix: str, bits: int, layout: str) -> None:
    image = noise(LAYOUTS[layout], bits)
    path = tmp_path / "new" / f"image{suffix}"
    if layout not in STORED[suffix, bits]:
        with pytest.raises(ValueError, match=rf"cannot write image .*image{suffix}.*{bits}-bit"):
            write_image(path, image)
        assert not list(tmp_path.iterdir())
        return
    write_image(path, image)
    result = read_image(path)
    assert (result.shape, result.dtype) == (image.shape, image.dtype)
    assert read_size(path) == image.shape[:2]
    assert list(path.parent.iterdir()) == [path]
    if suffix not in (".jpg", ".avif"):
        np.testing.assert_array_equal(result, image)


@pytest.mark.parametrize(
    ("layout", "suffix"), [("grey", ".jpg"), ("rgb", ".jpg"), ("rgb", ".avif")]
)
def test_lossy_files_are_close(tmp_path: Path, layout: str, suffix: str) -> None:
    """Without chroma subsampling a smooth ramp moves by a few grey levels."""
    ramp = np.add.outer(np.arange(32), 6 * np.arange(32)).astype(np.uint8)
    image = ramp if layout == "grey" else np.stack([ramp, ramp[::-1], ramp[:, ::-1]], -1)
    path = tmp_path / f"ramp{suffix}"
    write_image(path, image)
    difference = read_image(path).astype(int) - image
    assert np.abs(difference).max() <= 6


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif"])
def test_a_lower_quality_is_smaller(tmp_path: Path, suffix: str) -> None:
    path, sizes = tmp_path / f"a{suffix}", []
    for quality in (10, 60, None):
        write_image(path, noise((32, 32, 3)), quality=quality)
        sizes.append(path.stat().st_size)
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize(
    ("name", "quality", "message"),
    [("a.png", 90, "PNG is lossless"), ("a.jpg", 0, "is 0, expected"), ("a.avif", 101, "is 101")],
)
def test_refused_qualities(tmp_path: Path, name: str, quality: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_image(tmp_path / name, noise((4, 4, 3)), quality=quality)
    assert not list(tmp_path.iterdir())


def test_one_channel_is_grey(tmp_path: Path) -> None:
    image = noise((5, 4, 1), 16)
    write_image(tmp_path / "a.PNG", image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.PNG"), image[..., 0])


def test_views_are_written(tmp_path: Path) -> None:
    image = noise((8, 9, 4), 16)[::2, ::-1, :3]
    for suffix in (".png", ".tif"):
        write_image(tmp_path / f"a{suffix}", image)
        np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), image)


def test_writing_replaces_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    write_image(path, noise((4, 4)))
    before = path.read_bytes()

    def refuse(_temporary: Path, _path: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        with pytest.raises(OSError, match="not permitted"):
            write_image(path, noise((5, 5)))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    write_image(path, noise((5, 5)))
    assert read_image(path).shape == (5, 5)


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("a.gif", noise((4, 4)), "unknown suffix '.gif', expected one of .png"),
        ("a", noise((4, 4)), "unknown suffix ''"),
        ("a.png", np.zeros((4, 4)), "dtype float64.*from_float"),
        ("a.png", np.zeros((4, 4), bool), "dtype bool"),
        ("a.png", noise((4, 4, 5)), "C from 1 to 4"),
        ("a.png", noise((1, 4, 4, 3)), "expected \\(H, W\\)"),
        ("a.png", noise((0, 4)), "no pixels"),
        ("a.webp", noise((1, 16384, 3)), "at most 16383"),
        ("folder.png", noise((4, 4)), "it is a folder"),
    ],
)
def test_refused_writes(tmp_path: Path, name: str, image: np.ndarray, message: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match=message):
        write_image(tmp_path / name, image)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "webp", "tif", "png 16", "tif 16"])
def test_orientation(tmp_path: Path, kind: str, orientation: int) -> None:
    """Against the definition in the EXIF standard: where row 0 and column 0 are shown."""
    upright = noise((4, 6, 3), 16 if "16" in kind else 8)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),  # row 0 at the right, column 0 on top: shown turned clockwise
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    path = tmp_path / f"a.{kind.split()[0]}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "tif 16":
        tag = (0x0112, 3, 1, orientation, True)
        tifffile.imwrite(path, stored, photometric="rgb", extratags=[tag])
    elif kind == "png 16":
        size = (stored.shape[1], stored.shape[0], 16, 2, 0, 0, 0)
        path.write_bytes(png(size, png_rows(stored), png_chunk(b"eXIf", exif.tobytes()[6:])))
    else:
        options = {"lossless": True} if kind == "webp" else {}
        Image.fromarray(stored).save(path, exif=exif, **options)
    result = read_image(path)
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, upright)
    assert read_size(path) == stored.shape[:2]


def save_palette(path: Path, **options: object) -> None:
    Image.fromarray(noise((8, 6, 3))).convert("P").save(path, **options)


OTHER_FILES = [
    pytest.param("a.png", save_palette, (8, 6, 3), id="palette"),
    pytest.param(
        "a.png", lambda p: save_palette(p, transparency=3), (8, 6, 4), id="palette, one clear"
    ),
    pytest.param(
        "a.png",
        lambda p: save_palette(p, transparency=bytes(range(200))),
        (8, 6, 4),
        id="palette with alpha",
    ),
    pytest.param(
        "a.png",
        lambda p: Image.fromarray(noise((8, 6))).convert("1").save(p),
        (8, 6),
        id="one bit",
    ),
    pytest.param(
        "a.tif",
        lambda p: Image.fromarray(noise((8, 6))).convert("1").save(p, compression="group4"),
        (8, 6),
        id="fax",
    ),
    pytest.param(
        "a.png",
        lambda p: Image.fromarray(noise((8, 6))).save(p, transparency=9),
        (8, 6, 2),
        id="grey, one clear",
    ),
    pytest.param(
        "a.jpg",
        lambda p: Image.fromarray(noise((8, 6, 3))).convert("CMYK").save(p),
        (8, 6, 3),
        id="CMYK JPEG",
    ),
    pytest.param(
        "a.tif",
        lambda p: Image.fromarray(noise((8, 6, 3))).convert("CMYK").save(p),
        (8, 6, 3),
        id="CMYK TIFF",
    ),
    pytest.param(
        "a.jpg",
        lambda p: Image.fromarray(noise((8, 6, 3))).save(
            p, "MPO", save_all=True, append_images=[Image.fromarray(noise((4, 3, 3)))]
        ),
        (8, 6, 3),
        id="JPEG with a preview",
    ),
    pytest.param(
        "name-lies.png",
        lambda p: Image.fromarray(noise((8, 6, 3))).save(p, "BMP"),
        (8, 6, 3),
        id="told by content",
    ),
]


@pytest.mark.parametrize(("name", "save", "shape"), OTHER_FILES)
def test_other_kinds(
    tmp_path: Path, name: str, save: Callable[[Path], None], shape: tuple[int, ...]
) -> None:
    save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert (image.shape, image.dtype) == (shape, np.uint8)


def test_palette_and_one_bit_values(tmp_path: Path) -> None:
    palette = Image.fromarray(noise((8, 6, 3))).convert("P")
    palette.save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.png"), np.asarray(palette.convert("RGB"))
    )
    Image.fromarray(np.eye(8, dtype=bool)).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), np.eye(8) * 255)


def icc_profile(space: bytes, *tables: tuple[bytes, bytes]) -> bytes:
    """An ICC profile by hand (ICC.1:2022, section 7); each table is a name and its content."""
    offset = 132 + 12 * len(tables)
    directory, contents = struct.pack(">I", len(tables)), b""
    for name, content in tables:
        directory += name + struct.pack(">II", offset + len(contents), len(content))
        contents += content
    header = struct.pack(">I4xI4s4s4s", offset + len(contents), 0x02400000, b"prtr", space, b"Lab ")
    illuminant = struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    header += bytes(12) + b"acsp" + bytes(28) + illuminant
    return header.ljust(128, b"\0") + directory + contents


def cyan_becomes(lightness: int, a: int, b: int) -> bytes:
    """A table (lut8Type, section 10.11) from CMYK to Lab: full cyan is that, no ink is white."""
    nodes = np.full((2, 2, 2, 2, 3), (0, 128, 128), np.uint8)
    nodes[0, 0, 0, 0] = 255, 128, 128
    nodes[1, 0, 0, 0] = lightness, a, b
    matrix = struct.pack(">9i", *(np.eye(3, dtype=int).ravel() << 16).tolist())
    straight = bytes(range(256))
    return (
        b"mft1"
        + bytes(4)
        + bytes([4, 3, 2, 0])
        + matrix
        + 4 * straight
        + nodes.tobytes()
        + (3 * straight)
    )


RED, GREEN = cyan_becomes(138, 209, 198), cyan_becomes(224, 49, 209)
PROFILES = {
    "grey": icc_profile(b"GRAY"),
    "rgb": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    # A2B0 is for the perceptual intent, A2B1 for the colorimetric ones.
    "cmyk": icc_profile(b"CMYK", (b"A2B0", GREEN), (b"A2B1", RED)),
    "broken": b"no profile at all",
    "none": None,
}
# How other programs store pictures: Pillow's mode -> what it becomes, per suffix and depth.
MODES = {
    (".png", 8): {"1": "grey", "L": "grey", "LA": "grey+alpha", "P": "rgb", "RGB": "rgb"}
    | {"RGBA": "rgba"},
    (".png", 16): {"L": "grey", "LA": "grey+alpha", "RGB": "rgb", "RGBA": "rgba"},
    (".tif", 8): {"1": "grey", "L": "grey", "P": "rgb", "RGB": "rgb", "RGBA": "rgba"}
    | {"CMYK": "rgb"},
    (".tif", 16): {"L": "grey", "LA": "grey+alpha", "RGB": "rgb", "RGBA": "rgba"},
    (".jpg", 8): {"L": "grey", "RGB": "rgb", "CMYK": "rgb"},
    (".webp", 8): {"RGB": "rgb", "RGBA": "rgba"},
    (".bmp", 8): {"1": "grey", "L": "grey", "P": "rgb", "RGB": "rgb"},
}
GRID = [
    (suffix, bits, mode, profile, orientation)
    for (suffix, bits), modes in MODES.items()
    for mode in modes
    for profile in (PROFILES if suffix != ".bmp" else ["none"])
    for orientation in ((1, 6) if suffix != ".bmp" else (1,))
]


def store(
    path: Path, bits: int, mode: str, profile: bytes | None, orientation: int
) -> np.ndarray | None:
    """Writes a picture as other programs do, stored turned left where it is to be turned right.

    Returns its pixels upright; None where a format or a conversion changes them.
    """
    channels = {"L": 1, "LA": 2, "RGBA": 4, "CMYK": 4}.get(mode, 3)
    pixels = noise((10, 16, channels), bits)
    upright = np.rot90(pixels, -1) if orientation == 6 else pixels
    upright = upright[..., 0] if channels == 1 else upright
    if bits == 16 and path.suffix == ".tif":
        tifffile.imwrite(
            path,
            pixels if channels > 1 else pixels[..., 0],
            photometric="rgb" if channels > 2 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=["unassalpha"] if channels in (2, 4) else None,
            iccprofile=profile,
            extratags=[(0x0112, 3, 1, orientation, True)],
        )
        return upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    if bits == 16:
        kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
        chunks = png_chunk(b"eXIf", exif.tobytes()[6:])
        if profile is not None:
            chunks = png_chunk(b"iCCP", b"x\0\0" + zlib.compress(profile)) + chunks
        path.write_bytes(png((16, 10, 16, kind, 0, 0, 0), png_rows(pixels), chunks))
        return upright
    if mode == "CMYK":
        image = Image.frombytes(mode, (16, 10), pixels.tobytes())
    else:
        image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels).convert(mode)
    options: dict = {} if path.suffix == ".bmp" else {"icc_profile": profile, "exif": exif}
    if path.suffix == ".webp":
        options |= {"lossless": True, "exact": True}
    image.save(path, **options)
    if path.suffix == ".jpg" or mode == "CMYK":
        return None
    if mode in ("1", "P"):
        expanded = np.asarray(image.convert("L" if mode == "1" else "RGB"))
        return np.rot90(expanded, -1) if orientation == 6 else expanded
    return upright


@pytest.mark.parametrize(("suffix", "bits", "mode", "profile", "orientation"), GRID)
def test_grid(
    tmp_path: Path, suffix: str, bits: int, mode: str, profile: str, orientation: int
) -> None:
    """Depth x mode x format x alpha x profile x orientation, read, written as PNG, read again."""
    path = tmp_path / f"a{suffix}"
    upright = store(path, bits, mode, PROFILES[profile], orientation)
    layout = MODES[suffix, bits][mode]
    picture = read_picture(path)
    shape = ((10, 16) if orientation == 1 else (16, 10)) + LAYOUTS[layout][2:]
    assert (picture.pixels.shape, picture.pixels.dtype.itemsize) == (shape, bits // 8)
    if upright is not None:
        np.testing.assert_array_equal(picture.pixels, upright)
    fits = profile == layout.split("+")[0].replace("rgba", "rgb") and mode != "CMYK"
    assert picture.icc_profile == (PROFILES[profile] if fits else None)

    write_image(tmp_path / "b.png", picture.pixels, icc_profile=picture.icc_profile)
    again = read_picture(tmp_path / "b.png")
    np.testing.assert_array_equal(again.pixels, picture.pixels)
    assert again.icc_profile == picture.icc_profile
    with Image.open(tmp_path / "b.png") as written:
        assert not written.getexif()
        assert written.info.get("icc_profile") == picture.icc_profile


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_goes_through_its_profile(tmp_path: Path, suffix: str) -> None:
    """Cyan ink is red by this profile's colorimetric table; 8-bit Lab and JPEG round a little."""
    image = Image.new("CMYK", (16, 16))
    image.paste((255, 0, 0, 0), (0, 0, 16, 8))
    expected = {
        "cmyk": [(255, 0, 0), (255, 255, 255)],
        # Nothing usable: the plain formula.
        "rgb": [(0, 255, 255), (255, 255, 255)],
        "broken": [(0, 255, 255), (255, 255, 255)],
        "none": [(0, 255, 255), (255, 255, 255)],
    }
    for profile, colours in expected.items():
        image.save(tmp_path / f"a{suffix}", icc_profile=PROFILES[profile])
        pixels, icc_profile, _ = read_picture(tmp_path / f"a{suffix}")
        assert icc_profile is None
        np.testing.assert_allclose([pixels[2, 2], pixels[13, 2]], colours, atol=8)


def test_cmyk_profile_without_tables(tmp_path: Path) -> None:
    """It has the header of a profile and none of what a conversion needs."""
    image = Image.new("CMYK", (4, 4), (255, 0, 0, 51))
    image.save(tmp_path / "a.tif", icc_profile=icc_profile(b"CMYK"))
    assert read_image(tmp_path / "a.tif")[0, 0].tolist() == [0, 204, 204]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp", ".avif"])
def test_written_profiles(tmp_path: Path, suffix: str) -> None:
    """Read back by another program."""
    write_image(tmp_path / f"a{suffix}", noise((4, 4, 3)), icc_profile=PROFILES["rgb"])
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.info["icc_profile"] == PROFILES["rgb"]


@pytest.mark.parametrize(
    ("name", "profile", "shape", "message"),
    [
        ("a.bmp", "rgb", (4, 4, 3), "BMP cannot store a colour profile"),
        ("a.png", "cmyk", (4, 4, 3), "is not one of RGB images"),
        ("a.png", "rgb", (4, 4), "is not one of grey images"),
        ("a.tif", "grey", (4, 4, 4), "is not one of RGBA images"),
        ("a.tif", "broken", (4, 4, 3), "is not one of RGB images"),
    ],
)
def test_refused_profiles(
    tmp_path: Path, name: str, profile: str, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=f"cannot write image .*{name}: .*{message}"):
        write_image(tmp_path / name, noise(shape), icc_profile=PROFILES[profile])
    assert not list(tmp_path.iterdir())


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


@pytest.mark.parametrize("integer", [np.uint8, np.uint16])
@pytest.mark.parametrize("floating", [np.float32, np.float64])
def test_floats_there_and_back(integer: type, floating: type) -> None:
    """Exact: half a step of 1/65535 is far above float32's rounding."""
    values = np.arange(np.iinfo(integer).max + 1).astype(integer)
    floats = to_float(values, floating)
    assert floats.dtype == floating
    assert (floats[0], floats[-1]) == (0, 1)
    np.testing.assert_array_equal(from_float(floats, integer), values)


def test_from_float_clips_and_rounds_half_up() -> None:
    values = np.array([-1, 0, 0.5 / 255, 0.499 / 255, 2.5 / 255, 1, 1.5, np.inf, -np.inf])
    assert from_float(values).tolist() == [0, 0, 1, 0, 3, 255, 255, 255, 0]
    assert from_float(np.array([0.1, 1], np.float16), np.uint16).tolist() == [6552, 65535]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: to_float(np.zeros(3, np.int32)), "expected uint8 or uint16"),
        (lambda: to_float(np.zeros(3)), "expected uint8 or uint16"),
        (lambda: from_float(np.zeros(3, np.uint8)), "expected floats"),
        (lambda: from_float(np.zeros(3), np.int32), "dtype is int32"),
        (lambda: from_float(np.array([0.5, np.nan])), "NaN"),
        (lambda: to_rgb(np.zeros((4, 4))), "dtype float64"),
        (lambda: to_rgb(noise((4,))), "expected \\(H, W\\)"),
    ],
)
def test_bad_conversions(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("bits", [8, 16])
def test_to_rgb(bits: int) -> None:
    grey, alpha, rgb = (noise((4, 3, 5), bits)[..., part] for part in (0, 1, slice(2, 5)))
    three = np.stack([grey] * 3, axis=-1)
    np.testing.assert_array_equal(to_rgb(grey), three)
    np.testing.assert_array_equal(to_rgb(grey[..., None]), three)
    np.testing.assert_array_equal(to_rgb(np.stack([grey, alpha], -1)), three)
    np.testing.assert_array_equal(to_rgb(rgb), rgb)
    np.testing.assert_array_equal(to_rgb(np.dstack([rgb, alpha])), rgb)
    assert to_rgb(grey).dtype == grey.dtype


def test_imports_are_light() -> None:
    """Reading a file must not cost the start of JAX or TensorFlow."""
    program = (
        "import sys, sr_jax.imaging.files, sr_jax.imaging.metrics; "
        "sys.exit(bool({'jax', 'tensorflow'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
def test_8_bit_files_are_read_without_imagecodecs(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"image{suffix}"
    write_image(path, noise((13, 17, 3)))
    expected = read_image(path)
    for module in [name for name in sys.modules if name.partition(".")[0] == "imagecodecs"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)  # importing it fails
    np.testing.assert_array_equal(read_image(path), expected)


def test_missing_imagecodecs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep.png"
    write_image(path, noise((13, 17, 3)).astype(np.uint16))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ValueError, match=r"^cannot read image .*deep.png: .* imagecodecs: run"):
        read_image(path)
    with pytest.raises(ValueError, match=r"^cannot write image .*deep.png: .* imagecodecs"):
        write_image(path, noise((13, 17, 3)))


@pytest.mark.parametrize("shape", [(400, 1), (400, 2, 3), (1, 400), (50, 1, 3)])
def test_thin_noise_and_odd_strides_are_written(shape, tmp_path):
    """What does not compress needs more room than its pixels; an axis of 1 may have any stride."""
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    odd = np.swapaxes(np.ascontiguousarray(np.swapaxes(image, 0, 1)), 0, 1)
    for number, each in enumerate((image, odd)):
        write_image(tmp_path / f"{number}.png", each)
        np.testing.assert_array_equal(read_image(tmp_path / f"{number}.png"), image)
