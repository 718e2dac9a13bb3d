"""What a file carries beside its pixels goes into the file that is made of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sr_jax.imaging.files import read_picture, write_image
from sr_jax.imaging.metadata import Metadata

ORIENTATION, DATE, GPS = 0x0112, 0x0132, 0x8825


def rewrite(path: Path) -> Image.Image:
    """What Pillow sees in a PNG file of twice the pixels."""
    pixels, icc_profile, metadata = read_picture(path)
    large = pixels.repeat(2, axis=0).repeat(2, axis=1)
    out = path.with_name("large.png")
    write_image(out, large, icc_profile=icc_profile, metadata=metadata)
    image = Image.open(out)
    image.load()
    np.testing.assert_array_equal(read_picture(out).pixels, large)
    return image


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_and_resolution_are_kept(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION], exif[DATE] = 6, "2020:02:03 04:05:06"
    exif.get_ifd(GPS)[1] = "N"
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(path, exif=exif, dpi=(300, 300))
    found = rewrite(path)
    assert found.size == (12, 16)  # turned once, by the reader
    assert found.getexif().get(ORIENTATION) is None
    assert found.getexif()[DATE] == "2020:02:03 04:05:06"
    if suffix != ".tif":  # into which Pillow writes no place
        assert found.getexif().get_ifd(GPS)[1] == "N"
    if suffix != ".webp":  # which has no resolution but Exif's
        assert found.info["dpi"] == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif", ".tif"])
def test_other_formats_keep_what_they_can(suffix: str, tmp_path: Path) -> None:
    """Read by another program: the date in all, the place in all but TIFF."""
    exif = Image.Exif()
    exif[DATE] = "2020:02:03 04:05:06"
    exif.get_ifd(GPS)[1] = "N"
    image = Image.fromarray(np.zeros((6, 8, 3), np.uint8))
    image.save(tmp_path / "in.png", exif=exif, dpi=(300, 300))
    pixels, _, metadata = read_picture(tmp_path / "in.png")
    write_image(tmp_path / f"out{suffix}", pixels, metadata=metadata)
    with Image.open(tmp_path / f"out{suffix}") as found:
        assert found.getexif()[DATE] == "2020:02:03 04:05:06"
        if suffix != ".tif":
            assert found.getexif().get_ifd(GPS)[1] == "N"
        if suffix in (".jpg", ".tif"):
            assert found.info["dpi"] == pytest.approx((300, 300), abs=0.01)


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".avif", ".tif", ".bmp"])
def test_light_that_a_format_cannot_store_is_refused(suffix: str, tmp_path: Path) -> None:
    image = np.zeros((4, 5, 3), np.uint8)
    for metadata in (Metadata(gamma=100_000), Metadata(cicp=bytes([9, 16, 0, 1]))):
        with pytest.raises(ValueError, match="cannot store the gAMA or cICP of this image"):
            write_image(tmp_path / f"a{suffix}", image, metadata=metadata)
    for metadata in (Metadata(gamma=45455), Metadata(cicp=bytes([1, 13, 0, 1]))):  # sRGB
        write_image(tmp_path / f"a{suffix}", image, metadata=metadata)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_light_is_kept(depth: type, tmp_path: Path) -> None:
    metadata = Metadata(gamma=100_000, cicp=bytes([9, 16, 0, 1]), dpi=(72.009, 72.009))
    write_image(tmp_path / "a.png", np.zeros((4, 5, 3), depth), metadata=metadata)
    assert rewrite(tmp_path / "a.png").info["gamma"] == 1.0
    found = read_picture(tmp_path / "large.png").metadata
    assert (found.gamma, found.cicp) == (metadata.gamma, metadata.cicp)
    assert found.dpi == pytest.approx(metadata.dpi, abs=0.01)


def test_a_damaged_block_costs_itself_alone(tmp_path: Path) -> None:
    info = PngInfo()
    info.add(b"eXIf", b"MM\0*\xff\xff\xff\xff" + bytes(range(40)))
    image = Image.fromarray(np.full((4, 5), 7, np.uint8))
    image.save(tmp_path / "a.png", pnginfo=info)
    assert read_picture(tmp_path / "a.png").pixels.tolist() == [[7] * 5] * 4


def test_a_file_without_any_has_none(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((4, 5), np.uint8))
    assert read_picture(tmp_path / "a.png").metadata == Metadata()
