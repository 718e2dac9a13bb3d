"""The networks that come with sr_jax: their files and cards, and how they are chosen and named."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors
import typer
from PIL import Image

import sr_jax
from sr_jax import pretrained, weights
from sr_jax.commands.convert import convert
from sr_jax.commands.models import models
from sr_jax.commands.upscale import upscale
from sr_jax.data.sources.layouts import find_layout
from sr_jax.evaluation.scoring import score_image
from sr_jax.imaging.files import read_image, write_image
from sr_jax.inference.settings import Settings
from sr_jax.models import count_parameters, create_model, describe_model
from sr_jax.opening import open_model
from sr_jax.training.start import read_start

REPOSITORY = Path(__file__).resolve().parents[1]
SHIPPED = sorted(pretrained.cards())


# ------------------------------------------------------------------ what ships


@pytest.mark.parametrize("name", SHIPPED)
def test_a_card_says_what_its_file_holds(name):
    card = pretrained.cards()[name]
    model, variables = sr_jax.load(name)
    assert describe_model(model)[0] == card.architecture
    assert count_parameters(variables) == card.parameters
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables["params"])} == {"float32"}
    with safetensors.safe_open(card.path, framework="numpy") as file:
        assert {file.get_tensor(key).dtype.name for key in file.keys()} <= {"float16", "int32"}  # noqa: SIM118
    assert card.kind in pretrained.KINDS
    assert {(s.dataset, s.scale) for s in card.scores} >= {
        (dataset, scale) for dataset in ("Set5", "Set14", "B100") for scale in card.scales
    }
    assert (REPOSITORY / card.recipe).is_file()
    assert all((card.data, card.command, card.commit, card.hardware, card.limits))
    assert card.updates > 0
    assert card.hours > 0


def test_all_files_are_small_enough_for_the_wheel():
    assert sum(path.stat().st_size for path in pretrained.FOLDER.iterdir()) <= 30e6


def small(name):
    """Those that are not for speed take longer to score."""
    return pytest.param(name, marks=() if name.startswith("edsr_") else pytest.mark.slow)


@pytest.mark.parametrize("name", [small(name) for name in SHIPPED if "small" in name])
def test_the_score_of_a_card_is_what_the_network_gives(shared, name):
    """Mean PSNR on Set5: 0.005 dB, for other machines' order of float32 sums."""
    card = pretrained.cards()[name]
    network = sr_jax.load(name)
    tiles = re.search(r"--tile (\d+)", card.limits)
    settings = Settings(tile=int(tiles[1]) if tiles else None)
    for scale in card.scales:
        pairs = find_layout(shared("data/benchmarks/Set5"), [scale]).pairs
        found = [score_image(pair, scale, network, settings=settings)[0] for pair in pairs]
        assert np.mean(found) == pytest.approx(card.psnr("Set5", scale), abs=0.005)


@pytest.mark.parametrize("name", SHIPPED)
def test_networks_are_better_than_bicubic(name):
    """Those for photographs on JPEG files, the others on clean ones."""
    card = pretrained.cards()[name]
    for score in card.scores:
        if score.dataset.endswith("JPEG 75") == (card.kind == "photo"):
            assert score.psnr > score.bicubic + 0.3


def test_photographers_are_credited():
    lines = (pretrained.FOLDER / "photos.csv").read_text().splitlines()
    assert lines[0] == "file,author,licence,repository,path"
    assert len(lines) == 124


# ------------------------------------------------------------------ names


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Four tiny networks in place of those that ship: `NAME.json` says what each is for."""
    folder = tmp_path / "pretrained"
    kinds = {
        "clean_x2": 30.0,
        "better_x2": 31.0,
        "photo_x2": 29.0,
        "clean_x4": 28.0,
        "photo_x4": 27,
    }
    for seed, (name, psnr) in enumerate(kinds.items()):
        scale = int(name[-1])
        model = create_model("edsr_baseline", scale=scale, n_resblocks=1, n_feats=4)
        variables = model.init(jax.random.key(seed), np.zeros((1, 8, 8, 3), np.float32))
        weights.save(folder / f"{name}.safetensors", model, variables, half=True)
        score = {"dataset": "Set14", "scale": scale, "psnr": psnr, "ssim": 0.9, "bicubic": 25.0}
        card = {
            "kind": "photo" if "photo" in name else "bicubic",
            "architecture": "edsr",
            "parameters": count_parameters(variables),
            "scales": [scale],
            "data": "noise",
            "recipe": "none.py",
            "command": "none",
            "commit": "0",
            "updates": 1,
            "hours": 0.5,
            "hardware": "a machine",
            "scores": [
                score | {"dataset": f"{dataset}{after}"}
                for dataset in ("Set5", "Set14")
                for after in ("", " JPEG 75")
            ],
            "limits": "all",
        }
        (folder / f"{name}.json").write_text(json.dumps(card))
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    pretrained.cards.cache_clear()
    yield folder
    pretrained.cards.cache_clear()


@pytest.mark.parametrize(
    ("scale", "kind", "name"),
    [
        (2, "bicubic", "better_x2"),
        (1.5, "bicubic", "better_x2"),
        (3, "bicubic", "clean_x4"),
        (7.5, "bicubic", "clean_x4"),
        (2, "photo", "photo_x2"),
        (4, "photo", "photo_x4"),
    ],
)
def test_the_best_for_a_scale_and_a_kind(shipped, scale, kind, name):
    assert pretrained.choose(scale, kind).name == name


def test_an_unknown_kind_is_refused(shipped):
    with pytest.raises(ValueError, match="kind is 'jpeg'; known are bicubic, photo"):
        pretrained.choose(2, "jpeg")


def test_a_name_is_taken_wherever_a_model_is(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, variables = sr_jax.load("photo_x4")
    assert model.scale == 4
    start = read_start("photo_x4", model)
    np.testing.assert_array_equal(
        start["params/head/kernel"], variables["params"]["head"]["kernel"]
    )
    convert(Path("photo_x4"), Path("mine.safetensors"))
    assert weights.load("mine.safetensors")[0] == model
    with pytest.raises(ValueError, match="a step is for a training workdir, but photo_x4 comes"):
        open_model("photo_x4", step=3)


def test_a_name_that_is_a_file_too_is_refused(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo_x4").mkdir()
    with pytest.raises(
        ValueError, match=r"a file or folder here: write \./photo_x4 for the latter"
    ):
        open_model("photo_x4")
    weights.save(tmp_path / "photo_x4" / "weights.safetensors", *sr_jax.load("clean_x2"))
    assert open_model("./photo_x4").model.scale == 2


# ------------------------------------------------------------------ the default


def picture(path: Path, size: int = 12) -> Path:
    image = np.random.default_rng(size).integers(0, 256, (size, size, 3), np.uint8)
    write_image(path, image)
    return path


def test_upscaler_takes_the_best(shipped):
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    for scale, name in ((None, "better_x2"), (4, "clean_x4")):
        expected = sr_jax.Upscaler(name)(image)
        np.testing.assert_array_equal(sr_jax.Upscaler(scale=scale)(image), expected)
    assert sr_jax.Upscaler(scale=3)(image).shape == (27, 27, 3)


def test_jpeg_and_other_images_go_through_their_own_networks(shipped, tmp_path, capsys):
    """By what a file is, not by its name."""
    jpeg, png = picture(tmp_path / "a.jpg"), picture(tmp_path / "b.png")
    jpeg.rename(tmp_path / "c.png")
    upscale([tmp_path / "c.png", png], output=tmp_path / "out")
    printed = capsys.readouterr().out
    assert "c.png: photo_x2, made for JPEG (--model takes another)" in printed
    assert "b.png: better_x2, made for clean images (--model takes another)" in printed
    for name, network in (("c", "photo_x2"), ("b", "better_x2")):
        expected = sr_jax.Upscaler(network)(read_image(tmp_path / f"{name}.png"))
        np.testing.assert_array_equal(read_image(tmp_path / "out" / f"{name}.png"), expected)


def test_model_overrides_the_choice(shipped, tmp_path, capsys):
    jpeg = picture(tmp_path / "a.jpg")
    upscale([jpeg], model="clean_x2")
    assert "made for" not in capsys.readouterr().out
    expected = sr_jax.Upscaler("clean_x2")(read_image(jpeg))
    np.testing.assert_array_equal(read_image(tmp_path / "a_x2.png"), expected)


def test_a_scale_chooses_too_and_what_is_missing_is_resized(shipped, tmp_path):
    paths = [picture(tmp_path / "a.jpg"), picture(tmp_path / "b.png")]
    for scale in (3, 4):
        upscale(paths, scale=scale)
        for name in ("a", "b"):
            with Image.open(tmp_path / f"{name}_x{scale}.png") as image:
                assert image.size == (12 * scale, 12 * scale)


def test_many_images_of_both_kinds_and_an_interruption(shipped, tmp_path, capsys):
    """Ten sizes of each kind; a bad file costs no other; the command goes on."""
    for size in range(9, 19):
        picture(tmp_path / "in" / f"{size}.jpg", size)
        picture(tmp_path / "in" / f"{size}.png", size)
    (tmp_path / "in" / "0.png").write_bytes(b"no image")
    with pytest.raises(typer.Exit):
        upscale([tmp_path / "in"], output=tmp_path / "out", suffix="_big")
    printed = capsys.readouterr()
    assert "10 images: photo_x2, made for JPEG" in printed.out
    assert "11 images: better_x2, made for clean images" in printed.out
    assert "0.png" in printed.err


def test_models_lists_them_and_prints_a_card(shipped, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    models()
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    row = next(line.split() for line in printed.splitlines() if line.split()[:1] == ["photo_x4"])
    assert row[1:3] == ["JPEG", "x4"]
    assert row[-3:] == ["27.00", "25.00", "27.00"]
    models("photo_x4")
    assert "0.5 h on a machine" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no network rcan comes with sr_jax; there are better_x2"):
        models("rcan")
