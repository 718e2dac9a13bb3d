"""Which files of a folder are images, and what is passed over."""

from pathlib import Path

import pytest

from sr_jax.imaging.listing import list_files, list_images


def test_list_images(tmp_path: Path) -> None:
    for name in (
        "b.png",
        "a.JPG",
        "sub/deep/c.TIFF",
        "sub/d.webp",
        "e.txt",
        "._b.png",
        "f.png/g.bmp",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in list_images(str(tmp_path))]
    assert found == ["a.JPG", "b.png", "f.png/g.bmp", "sub/d.webp", "sub/deep/c.TIFF"]


def test_list_images_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    for folder, message in (
        (tmp_path, "it holds no file named"),
        (tmp_path / "none", "no such folder"),
        (tmp_path / "a.txt", "it is a file"),
    ):
        with pytest.raises(ValueError, match=f"cannot list images of .*{message}") as raised:
            list_images(folder)
        assert "\n" not in str(raised.value)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    for name in (".hidden.png", "Thumbs.db", "__MACOSX/._a.png", "a.heic", "b.jpeg_large"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list_files(tmp_path)
    assert found.images == ()
    assert {path.name for path in found.hidden} == {".hidden.png", "Thumbs.db", "__MACOSX"}
    assert {path.name for path in found.others} == {"a.heic", "b.jpeg_large"}
    assert found.left_out() == (
        "no image by its suffix: a.heic, b.jpeg_large; hidden: .hidden.png, Thumbs.db, __MACOSX"
    )
