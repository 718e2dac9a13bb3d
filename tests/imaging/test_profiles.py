"""Colour profiles of image files: used, kept, refused."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from pictures import LAYOUTS, noise, png, png_chunk, png_rows
from PIL import Image, ImageCms

from sr_jax.imaging.files import (
    read_image,
    read_picture,
    write_image,
)


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
