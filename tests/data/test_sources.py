"""The photographs in the wheels, and folders in every layout that is promised."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sr_jax.data.degradation import downscale, modcrop
from sr_jax.data.sources import ImagePair, load
from sr_jax.imaging.files import read_image, write_image
from sr_jax.imaging.resize import imresize


def noise(height: int = 12, width: int = 18, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def fill(folder: Path, names: list[str], **size: int) -> dict[str, np.ndarray]:
    """Writes one image of noise a name, each another one."""
    images = {name: noise(seed=seed, **size) for seed, name in enumerate(names)}
    for name, image in images.items():
        write_image(folder / name, image)
    return images


def names(pairs: tuple[ImagePair, ...]) -> list[str]:
    return [pair.name for pair in pairs]


# ------------------------------------------------------------------------------- any source


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "imagenet"}, "imagenet.*known: photos, folder, div2k"),
        ({"split": "test"}, "test.*known: train, validation"),
        ({"scales": ()}, "scales"),
        ({"scales": (1,)}, "scales"),
        ({"scales": (2.5,)}, "scales"),
        ({"path": "/tmp"}, "takes no path"),
        ({"source": "folder"}, "needs a path"),
        ({"source": "div2k", "scales": (2, 5)}, r"\(2, 3, 4, 8\), not \[5\]"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(**{"source": "photos", "split": "train"} | arguments)


def test_a_pair_refuses_scales_it_was_not_loaded_for() -> None:
    pair = load("photos", "validation", scales=(2, 3))[0]
    with pytest.raises(ValueError, match=r"astronaut.*\(2, 3\), not x4"):
        pair.pair(4)


# ----------------------------------------------------------------------------------- photos


def test_photos_are_two_disjoint_fixed_splits() -> None:
    train, validation = (names(load("photos", split)) for split in ("train", "validation"))
    assert len(train) == len(set(train)) == 12
    assert validation == ["astronaut", "chelsea", "coffee"]
    assert not set(train) & set(validation)
    assert {"motorcycle_left", "motorcycle_right"} <= set(train)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_photos_are_large_enough_rgb(split: str) -> None:
    for pair in load("photos", split):
        hr = pair.hr()
        assert hr.dtype == np.uint8
        assert hr.shape[2] == 3
        assert min(hr.shape[:2]) >= 300
        assert hr.std() > 20, "not an empty picture"


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_photos_are_reduced_by_matlab_bicubic(scale: int) -> None:
    pair = load("photos", "validation", scales=(2, 3, 4))[1]
    lr, hr = pair.pair(scale)
    np.testing.assert_array_equal(hr, modcrop(pair.hr(), scale))
    np.testing.assert_array_equal(hr, pair.hr(scale))
    np.testing.assert_array_equal(lr, imresize(hr, 1 / scale))
    np.testing.assert_array_equal(lr, pair.lr(scale))
    assert hr.shape[:2] == (lr.shape[0] * scale, lr.shape[1] * scale)


def test_photos_without_their_wheel_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'sr-jax\[train\]'"):
        load("photos", "train")


def test_photos_are_found_without_importing_the_wheels() -> None:
    code = (
        "import sys; from sr_jax.data.sources import load; load('photos', 'train');"
        "heavy = {'skimage', 'sklearn', 'tensorflow', 'tensorflow_datasets'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


# ----------------------------------------------------------------------------------- folder


def test_a_folder_of_hr_images_is_split_by_rank(tmp_path: Path) -> None:
    files = [f"{i:03d}.png" for i in range(23)]
    images = fill(tmp_path, files)
    train, validation = (load("folder", s, path=tmp_path) for s in ("train", "validation"))
    assert names(validation) == ["000", "010", "020"]
    assert sorted(names(train) + names(validation)) == [name[:3] for name in files]
    lr, hr = validation[1].pair(2)
    np.testing.assert_array_equal(hr, images["010.png"])
    np.testing.assert_array_equal(lr, downscale(hr, 2))


def test_at_most_ten_images_of_a_folder_are_for_validation(tmp_path: Path) -> None:
    fill(tmp_path, [f"{i:03d}.png" for i in range(112)], height=4, width=4)
    assert names(load("folder", "validation", path=tmp_path)) == [
        f"{i:03d}" for i in range(0, 100, 10)
    ]
    assert len(load("folder", "train", path=tmp_path)) == 102


def test_a_folder_is_searched_recursively(tmp_path: Path) -> None:
    fill(tmp_path, ["b/2.png", "a/deep/1.png", "3.bmp"])
    pairs = load("folder", "validation", path=tmp_path) + load("folder", "train", path=tmp_path)
    assert sorted(names(pairs)) == ["3", "a/deep/1", "b/2"]


@pytest.mark.parametrize("suffix", ["x2", ""])
def test_lr_files_are_used_where_the_folder_brings_them(tmp_path: Path, suffix: str) -> None:
    """X2 from files; X3 is not there, hence made."""
    fill(tmp_path / "HR", ["a/1.png", "2.png"])
    low = {}
    for stem, image in {"a/1": noise(6, 9, seed=7), "2": noise(6, 9, seed=8)}.items():
        write_image(tmp_path / "LR_bicubic/X2" / f"{stem}{suffix}.png", image)
        low[stem] = image
    for split in ("train", "validation"):
        (pair,) = load("folder", split, path=tmp_path, scales=(2, 3))
        np.testing.assert_array_equal(pair.lr(2), low[pair.name])
        np.testing.assert_array_equal(pair.lr(3), downscale(pair.hr(), 3))


def test_set5_brings_matlabs_lr_images(shared: Callable[[str], Path]) -> None:
    set5 = shared("data/benchmarks/Set5")
    pairs = [
        p for s in ("validation", "train") for p in load("folder", s, path=set5, scales=(4, 8))
    ]
    assert names(pairs) == ["baby", "bird", "butterfly", "head", "woman"]
    assert all(set(pair.read_lr) == {4} for pair in pairs)
    for pair in pairs:
        lr, hr = pair.pair(4)
        np.testing.assert_array_equal(lr, downscale(hr, 4))
        assert pair.lr(8).shape[:2] == tuple(side // 8 for side in pair.hr().shape[:2])


def test_hr_is_cropped_to_its_lr(tmp_path: Path) -> None:
    """An LR image of a side that does not divide: rounded down, or up as MATLAB's imresize does."""
    fill(tmp_path / "HR", ["down.png", "up.png"], height=13, width=15)
    low = {"down": noise(6, 7, seed=7), "up": noise(7, 8, seed=8)}
    for stem, image in low.items():
        write_image(tmp_path / f"LR_bicubic/X2/{stem}.png", image)
    for split in ("train", "validation"):
        (pair,) = load("folder", split, path=tmp_path)
        lr, hr = pair.pair(2)
        assert hr.shape == (12, 14, 3)
        np.testing.assert_array_equal(lr, low[pair.name][:6, :7])


def test_train_and_validation_folders_are_the_splits(tmp_path: Path) -> None:
    fill(tmp_path / "train/HR", ["1.png"])
    fill(tmp_path / "train/LR_bicubic/X2", ["1x2.png"], height=6, width=9)
    fill(tmp_path / "validation", ["2.png", "3.png"])
    (pair,) = load("folder", "train", path=tmp_path)
    np.testing.assert_array_equal(pair.lr(2), noise(6, 9))
    assert names(load("folder", "validation", path=tmp_path)) == ["2", "3"]


@pytest.mark.parametrize("separator", [",", os.pathsep])
def test_several_folders_are_joined_in_order(tmp_path: Path, separator: str) -> None:
    for folder in ("b", "a"):
        fill(tmp_path / folder, ["1.png", "2.png", "3.png"])
    path = f"{tmp_path / 'b'}{separator}{tmp_path / 'a'}"
    assert names(load("folder", "train", path=path)) == [
        f"{tmp_path}/{name}" for name in ("b/2", "b/3", "a/2", "a/3")
    ]
    validation = load("folder", "validation", path=path)
    assert names(validation) == [f"{tmp_path}/b/1", f"{tmp_path}/a/1"]
    with pytest.raises(ValueError, match="same folder twice"):
        load("folder", "train", path=f"{tmp_path / 'a'}{separator}{tmp_path / 'a'}")


def test_a_folder_with_a_comma_in_its_name_is_one_folder(tmp_path: Path) -> None:
    fill(tmp_path / "a,b", ["1.png", "2.png"])
    assert names(load("folder", "train", path=tmp_path / "a,b")) == ["2"]


@pytest.mark.parametrize("kind", ["grey", "grey_alpha", "rgba", "rgb16", "grey16"])
def test_every_layout_becomes_8_bit_rgb(tmp_path: Path, kind: str) -> None:
    rgb = noise()
    grey = np.repeat(rgb[..., :1], 3, axis=2)
    alpha = noise(seed=5)[..., :1]
    stored, expected = {
        "grey": (rgb[..., 0], grey),
        "grey_alpha": (np.concatenate([rgb[..., :1], alpha], axis=2), grey),
        "rgba": (np.concatenate([rgb, alpha], axis=2), rgb),
        "rgb16": (rgb.astype(np.uint16) * 257, rgb),
        "grey16": (rgb[..., 0].astype(np.uint16) * 257, grey),
    }[kind]
    fill(tmp_path, ["z.png"])
    write_image(tmp_path / "a.png", stored)
    (pair,) = load("folder", "validation", path=tmp_path)
    assert pair.hr().dtype == np.uint8
    np.testing.assert_array_equal(pair.hr(), expected)


def test_16_bits_are_rounded_to_the_nearest_of_8(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    fill(tmp_path, ["z.png"])
    write_image(tmp_path / "a.png", values)
    (pair,) = load("folder", "validation", path=tmp_path)
    np.testing.assert_array_equal(pair.hr()[..., 0], np.rint(values / 257).astype(np.uint8))


def test_nothing_is_decoded_until_asked(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    fill(tmp_path, ["b.png"])
    (pair,) = load("folder", "validation", path=tmp_path)
    with pytest.raises(ValueError, match=r"a\.png"):
        pair.pair(2)


def without_lr(root: Path) -> None:
    fill(root / "HR", ["1.png", "2.png"])
    fill(root / "LR_bicubic/X2", ["1x2.png"], height=6, width=9)


def lr_only(root: Path) -> None:
    fill(root / "LR_bicubic/X2", ["1x2.png", "2x2.png"])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda root: None, "holds no image"),
        (lambda root: root.rmdir(), "no such folder"),
        (lambda root: fill(root, ["1.png"]), "holds one image"),
        (lambda root: fill(root, ["1.png", "1.bmp"]), r"1\.bmp and .*1\.png have the same name"),
        (
            lambda root: fill(root / "train", ["1.png", "2.png"]),
            "a folder 'train' but no folder 'validation'",
        ),
        (without_lr, r"X2 lacks 2x2\.png .*HR/2\.png"),
        (lr_only, r"1x2\.png is an LR image where HR images are expected"),
    ],
    ids=["empty", "missing", "single", "ambiguous", "half", "lr-missing", "lr-as-hr"],
)
def test_folders_that_cannot_be_used(
    tmp_path: Path, build: Callable[[Path], Any], message: str
) -> None:
    root = tmp_path / "images"
    root.mkdir()
    build(root)
    with pytest.raises(ValueError, match=message) as caught:
        load("folder", "train", path=root) + load("folder", "validation", path=root)
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_lr_image_of_the_wrong_size_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "HR", ["1.png", "2.png"])
    fill(tmp_path / "LR_bicubic/X2", ["1x2.png", "2x2.png"], height=6, width=10)
    (pair,) = load("folder", "train", path=tmp_path)
    with pytest.raises(ValueError, match=r"X2/2x2\.png is 10x6 pixels, expected 9x6: .*HR/2\.png"):
        pair.pair(2)


def test_files_are_read_as_they_are(tmp_path: Path) -> None:
    fill(tmp_path, ["1.png", "2.png"])
    (pair,) = load("folder", "train", path=tmp_path)
    np.testing.assert_array_equal(pair.hr(), read_image(tmp_path / "2.png"))
    assert str(pair.read_hr) == str(tmp_path / "2.png")
