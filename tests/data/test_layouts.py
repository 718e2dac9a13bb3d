"""Data sets as others lay them out: what is found is used, refused or named."""

from pathlib import Path

import numpy as np
import pytest

from sr_jax.data.sources import list_folder, load
from sr_jax.data.sources.layouts import find_layout
from sr_jax.imaging.files import write_image


def fill(folder: Path, *names: str, side: int = 12) -> None:
    """Writes grey images whose value tells them apart."""
    for name in names:
        value = sum(str(folder / name).encode()) % 200
        write_image(folder / name, np.full((side, side, 3), value, np.uint8))


def lr_files(pairs, scale: int = 2) -> dict[str, str]:
    """Name -> path of the LR image; nothing of those that are made."""
    return {pair.name: str(pair.read_lr[scale]) for pair in pairs if scale in pair.read_lr}


@pytest.mark.parametrize(
    ("hr", "lr"),
    [
        ("HR", "LR"),
        ("GT", "LQ"),
        ("hr", "lr"),
        ("HR", "LR_bicubic/X2"),
        ("HR", "LR_bicubic/x2"),
        ("HR", "LR_unknown/X2"),
        ("HR", "LR_x2"),
        ("GTmod12", "LRbicx2"),
        ("Flickr2K_HR", "Flickr2K_LR_bicubic/X2"),
    ],
)
@pytest.mark.parametrize("suffix", ["", "x2"])
def test_known_pairs(hr: str, lr: str, suffix: str, tmp_path: Path) -> None:
    fill(tmp_path / hr, "a.png", "deep/b.png")
    fill(tmp_path / lr, f"a{suffix}.png", f"deep/b{suffix}.png", side=6)
    pairs = list_folder(tmp_path, (2, 3))
    assert lr_files(pairs) == {
        name: str(tmp_path / lr / f"{name}{suffix}.png") for name in ("a", "deep/b")
    }
    for pair in pairs:
        assert pair.pair(2)[0][0, 0, 0] != pair.hr()[0, 0, 0]  # the file, not made of HR
        assert pair.pair(3)[0][0, 0, 0] == pair.hr()[0, 0, 0]
    said = find_layout(tmp_path, (2, 3)).describe()
    assert f"2 HR images in {tmp_path / hr}; LR x2 in {tmp_path / lr}; LR x3 made of them" in said


def test_div2k_as_it_is_unpacked(tmp_path: Path) -> None:
    for split, names in (("train", ("0001", "0002")), ("valid", ("0801",))):
        fill(tmp_path / f"DIV2K_{split}_HR", *(f"{name}.png" for name in names))
        for kind in ("bicubic", "unknown"):
            folder = tmp_path / f"DIV2K_{split}_LR_{kind}/X2"
            fill(folder, *(f"{name}x2.png" for name in names), side=6)
    train, validation = (load("folder", s, path=tmp_path) for s in ("train", "validation"))
    bicubic = tmp_path / "DIV2K_train_LR_bicubic/X2"
    assert lr_files(train) == {n: str(bicubic / f"{n}x2.png") for n in ("0001", "0002")}
    assert [pair.name for pair in validation] == ["0801"]
    with pytest.raises(ValueError, match="HR images in DIV2K_train_HR and in DIV2K_valid_HR"):
        list_folder(tmp_path)


def test_urban100_as_it_was_published(tmp_path: Path) -> None:
    for scale in (2, 4):
        names = [f"img_00{i}_SRF_{scale}" for i in (1, 2)]
        folder = tmp_path / f"image_SRF_{scale}"
        fill(folder, *(f"{name}_HR.png" for name in names), side=24)
        fill(folder, *(f"{name}_LR.png" for name in names), side=24 // scale)
        fill(folder, *(f"{name}_bicubic.png" for name in names), side=24)
    layout = find_layout(tmp_path, (2, 4))
    assert [pair.name for pair in layout.pairs] == ["img_001", "img_002"]
    for scale in (2, 4):
        expected = tmp_path / f"image_SRF_{scale}/img_002_SRF_{scale}_LR.png"
        assert lr_files(layout.pairs, scale)["img_002"] == str(expected)
        assert layout.pairs[0].pair(scale)[0].shape == (24 // scale, 24 // scale, 3)
    assert "left out: neither _HR nor _LR in their names: 4 images" in layout.describe()
    with pytest.raises(ValueError, match="has images of x2, x4, not of x3"):
        find_layout(tmp_path, (3,))


def test_splits_in_folders_of_their_own(tmp_path: Path) -> None:
    fill(tmp_path / "train/hr", "1.png")
    fill(tmp_path / "train/lr", "1.png", side=6)
    fill(tmp_path / "val", "2.png")
    assert lr_files(load("folder", "train", path=tmp_path)).keys() == {"1"}
    assert [pair.name for pair in load("folder", "validation", path=tmp_path)] == ["2"]


def test_exact_names_pair_first(tmp_path: Path) -> None:
    fill(tmp_path / "HR", "photo.png", "photox2.png")
    fill(tmp_path / "LR/X2", "photo.png", "photox2.png", side=6)
    folder = tmp_path / "LR/X2"
    expected = {name: str(folder / f"{name}.png") for name in ("photo", "photox2")}
    assert lr_files(list_folder(tmp_path)) == expected


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"HR/a.png": 12, "LR/X2/a.png": 6, "LR/X2/ax2.png": 6}, r"a\.png and .*ax2\.png may both"),
        ({"HR/a.png": 12, "GT/a.png": 12}, "HR images in GT and in HR"),
        ({"HR/a.png": 12, "LR/a.png": 12}, r"LR/a\.png is 12x12 pixels, which is no whole.*HR/a"),
        ({"HR/a.png": 12, "LR/a.png": 7}, r"LR/a\.png is 7x7 pixels, which is no whole.*HR/a"),
        ({"HR/a.png": 12, "LR/b.png": 6}, "no image of .*LR has the name of one of .*HR"),
        ({"HR/a.png": 12, "HR/b.png": 12, "LR/a.png": 6}, r"lacks bx2\.png \(or b\.png\)"),
        ({"set/lr/a.png": 6, "set/hr/a.png": 12}, r"set/lr/a\.png is an LR image where HR"),
        ({"lr/a.png": 6}, r"lr/a\.png is an LR image where HR"),
    ],
)
def test_what_cannot_be_paired_is_refused(files, message, tmp_path: Path) -> None:
    for name, side in files.items():
        fill(tmp_path, name, side=side)
    with pytest.raises(ValueError, match=message) as caught:
        list_folder(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "HR", "a.png")
    for name in ("X2/a.png", "X2/c.png"):
        fill(tmp_path / "LR_bicubic", name, side=6)
    fill(tmp_path / "LR_bicubic/X4", "a.png", side=3)
    fill(tmp_path / "LR_unknown/X2", "a.png", side=6)
    fill(tmp_path / "masks", "a.png")
    fill(tmp_path, "overview.png")
    fill(tmp_path / "HR/.ipynb_checkpoints", "a.png")
    fill(tmp_path / "HR/@eaDir/a.png", "SYNOPHOTO_THUMB_M.jpg")
    (tmp_path / "HR/notes.txt").touch()
    layout = find_layout(tmp_path, (2,))
    assert lr_files(layout.pairs) == {"a": str(tmp_path / "LR_bicubic/X2/a.png")}
    said = layout.describe()
    for name in ("X2/c.png", "LR_bicubic/X4 (1", "LR_unknown/X2 (1", "masks (1", "notes.txt"):
        assert name in said
    assert "hidden: .ipynb_checkpoints, @eaDir" in said
    assert f"{tmp_path} (1 images)" in said  # overview.png beside them


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    fill(tmp_path / "disk", "a.png", "b.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/link").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/circle").symlink_to(tmp_path / "set")
    assert [pair.name for pair in list_folder(tmp_path / "set")] == ["link/a", "link/b"]
