"""Image files: what is written is read back; pictures of other programs; conversions."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from pictures import LAYOUTS, noise, png, png_chunk, png_rows
from PIL import Image

from sr_jax.imaging.files import (
    from_float,
    read_image,
    read_size,
    to_float,
    to_rgb,
    write_image,
)

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
