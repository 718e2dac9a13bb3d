"""The command upscale on files that are broken, and where reading, writing or computing fails."""

import io
import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
import typer
from pictures import noise, png, png_chunk
from PIL import Image

from sr_jax import weights
from sr_jax.commands.upscale import upscale
from sr_jax.imaging.files import write_image
from sr_jax.models import create_model


def encoded(image: np.ndarray, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    if kind == "TIFF":
        tifffile.imwrite(stream, image, **options)
    else:
        Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def rgb(width: int, height: int, depth: int, chunks: bytes = b"") -> bytes:
    """An RGB PNG file without pixels."""
    return png((width, height, depth, 2, 0, 0, 0), b"", chunks)


def tiff(width: int, height: int, bits: int, samples: int = 1, next_page: int = 0) -> bytes:
    """A grey TIFF file by hand with 32 bytes of pixels behind the page's head."""
    entries = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, 1)]
    entries += [(273, 4, 122), (277, 3, samples), (278, 4, height), (279, 4, 32)]
    page = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return head + page + struct.pack("<I", next_page) + bytes(32)


def bmp(width: int, height: int) -> bytes:
    head = struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, width, height, 1, 24, *6 * (0,))
    return b"BM" + head


PHOTO, DEEP = noise((30, 20, 3)), noise((30, 20, 3), 16)
TWO = {"save_all": True, "append_images": [Image.fromarray(PHOTO[::-1])]}
WHOLE = {
    "png-cut.png": encoded(PHOTO, "PNG"),
    "jpg-cut.jpg": encoded(PHOTO, "JPEG"),
    "tif-cut.tif": encoded(PHOTO, "TIFF", photometric="rgb"),
    "webp-cut.webp": encoded(PHOTO, "WEBP", lossless=True),
    "bmp-cut.bmp": encoded(PHOTO, "BMP"),
    "tif16-cut.tif": encoded(DEEP, "TIFF", photometric="rgb"),
}
HUGE = zlib.compress(bytes(50_000_000), 9)
BROKEN: dict[str, bytes | Callable[[Path], object]] = {
    **{f"{part}-{name}": content[: len(content) * part // 100]
       for name, content in WHOLE.items() for part in (1, 50, 95)},
    "empty.png": b"",
    "zeros.jpg": bytes(1000),
    "zeros-tif.tif": b"II*\0" + bytes(1000),
    "zeros-webp.webp": b"RIFF\0\0\0\0WEBP" + bytes(1000),
    "text.png": b"no picture",
    "film.gif.png": b"GIF89a" + bytes(100),
    "flipped.png": WHOLE["png-cut.png"].replace(b"IDAT", b"IDAT\xff", 1),
    "bomb.png": rgb(60000, 60000, 8),
    "bomb16.png": rgb(60000, 60000, 16),
    "missing-pixels.png": rgb(9000, 9000, 16),
    "profile-bomb.png": rgb(4, 4, 8, png_chunk(b"iCCP", b"x\0\0" + HUGE)),
    "text-bomb.png": rgb(4, 4, 16, png_chunk(b"zTXt", b"x\0\0" + HUGE)),
    "no-width.png": rgb(0, 4, 8),
    "wide.tif": tiff(1 << 31, 1 << 31, 8),
    "wide16.tif": tiff(16384, 16384, 16),
    "circle.tif": tiff(4, 4, 8, next_page=8),
    "circle16.tif": tiff(4, 4, 16, next_page=8),
    "samples16.tif": tiff(100, 100, 16, samples=65535),
    "wide-bmp.bmp": bmp(1 << 30, 1 << 30),
    "missing-pixels-bmp.bmp": bmp(9000, 9000),
    "animated.png": encoded(PHOTO, "PNG", **TWO),
    "animated-webp.webp": encoded(PHOTO, "WEBP", **TWO),
    "pages.tif": encoded(noise((2, 9, 9)), "TIFF", photometric="minisblack"),
    "nan.tif": encoded(np.full((4, 4), np.nan, np.float32), "TIFF"),
    "pipe.png": os.mkfifo,
    "dangling.png": lambda path: path.symlink_to("nowhere"),
    "loop.png": lambda path: path.symlink_to(path),
    "device.png": lambda path: path.symlink_to("/dev/zero"),
    "sparse.png": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
}  # fmt: skip


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, content in BROKEN.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            content(folder / name)
    return folder


def test_broken_files_among_good_ones(model, broken, tmp_path, capfd):
    """Each is one line with its name; the others are written, and the code is 1."""
    good = {"0.png", "good.png", "zzz.png"}
    for name in good:
        (broken / name).write_bytes(WHOLE["png-cut.png"])
    (broken / "folder.png").mkdir()
    with pytest.raises(typer.Exit) as exit_:
        upscale([broken], model=model, output=tmp_path / "out")
    assert exit_.value.exit_code == 1
    captured = capfd.readouterr()
    lines = captured.err.splitlines()
    expected = [f"error: cannot read image {broken}/{name}: " for name in sorted(BROKEN)]
    assert [line[: line.index(": ", 7) + 2] for line in lines] == expected
    assert captured.out.startswith(f"3 of {3 + len(BROKEN)} images written")
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == good


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_alone(model, broken, tmp_path, capfd, name):
    with pytest.raises(typer.Exit) as exit_:
        upscale([broken / name], model=model, output=tmp_path / "out")
    assert exit_.value.exit_code == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: cannot read image {broken / name}: ")
    assert not (tmp_path / "out").exists()


def test_a_file_that_may_not_be_read(model, tmp_path, capsys, monkeypatch):
    """Root may read everything, so the refusal is staged."""
    write_image(tmp_path / "a.png", PHOTO)

    def refuse(_path: Path, _mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda p, *a, **k: refuse(p, *a) if p.name == "a.png" else opened(p, *a, **k)
    )
    with pytest.raises(typer.Exit):
        upscale([tmp_path / "a.png"], model=model, output=tmp_path / "out")
    assert capsys.readouterr().err.endswith("a.png: Permission denied\n")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_may_not_be_written(model, tmp_path, capsys, monkeypatch):
    """Nor is anything half-written left."""
    write_image(tmp_path / "a.png", PHOTO)

    def refuse(_old: Path, _new: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(typer.Exit):
        upscale([tmp_path / "a.png"], model=model, output=tmp_path / "out")
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"error: cannot upscale .*/a\.png: .*No space left on device", line)
    assert not list((tmp_path / "out").iterdir())


def test_a_network_that_computes_nan(tmp_path, capsys):
    network = create_model("srcnn_915", scale=2)
    variables = jax.tree.map(
        lambda leaf: jnp.full(leaf.shape, jnp.nan), weights.variable_shapes(network)
    )
    weights.save(tmp_path / "w.safetensors", network, variables)
    write_image(tmp_path / "a.png", noise((5, 6, 3)))
    with pytest.raises(typer.Exit):
        upscale([tmp_path / "a.png"], model=str(tmp_path / "w.safetensors"), output=tmp_path / "o")
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"error: cannot upscale .*/a\.png: image holds NaN", line)
    assert not (tmp_path / "o").exists()


def test_too_little_memory_is_one_line(model, tmp_path, capsys, monkeypatch):
    write_image(tmp_path / "a[b].png", PHOTO)

    def exhaust(*_: object, **__: object) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\nallocating 1 TiB")

    monkeypatch.setattr("sr_jax.inference.upscaler.upscale_image", exhaust)
    with pytest.raises(typer.Exit):
        upscale([tmp_path / "a[b].png"], model=model, output=tmp_path / "out")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "a[b].png: not enough memory: give a smaller --tile (in place of --shard-image) or --batch"
    )
