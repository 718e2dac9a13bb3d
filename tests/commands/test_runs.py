"""`sr-jax runs`: what workdirs tell of their trainings."""

import json

import pytest
from PIL import Image

from sr_jax.commands.runs import runs
from sr_jax.training.events import EventWriter


def train(workdir, name, steps, entries):
    """Leaves what a training leaves: a config, and scalars by step."""
    writer = EventWriter(workdir)
    for step, scalars in entries:
        writer.write_scalars(step, scalars)
    writer.close()
    config = {"model": {"name": name}, "train": {"steps": steps}}
    (workdir / "config.json").write_text(json.dumps(config))


@pytest.fixture
def folder(tmp_path):
    bicubic = {"validation/bicubic_psnr_x2": 29.8, "validation/psnr_x2": 20.0}
    train(
        tmp_path / "a",
        "edsr",
        800,
        [
            (0, bicubic),
            (200, {"train/loss": 9.0, "speed/images_per_second": 250.0}),
            (400, {"train/loss": 5.25, "validation/psnr_x2": 31.25}),
            (600, {"train/loss": 4.0, "validation/psnr_x2": 31.0}),
        ],
    )
    both = {"validation/psnr_x2": 33.0, "validation/psnr_x4": 27.0}
    train(tmp_path / "group" / "b[1]", "mdsr", 10, [(10, both)])
    (tmp_path / "no-run").mkdir()
    return tmp_path


def test_a_line_for_every_training_and_scale(folder, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    runs([folder])
    printed = capsys.readouterr().out.splitlines()
    assert max(map(len, printed)) <= 80
    rows = [line.split() for line in printed if "." in line]
    assert rows == [
        ["a", "edsr", "600/800", "4", "31.00", "31.25", "29.80", "250"],
        ["group/b[1]", "x2", "mdsr", "10/10", "33.00", "33.00"],
        ["group/b[1]", "x4", "27.00", "27.00"],
    ]


def test_curves_are_drawn(folder, tmp_path):
    runs([folder / "a", folder / "group"], plot=tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert len(picture.convert("L").getcolors()) > 20  # more than an empty page


def test_what_is_no_training_is_told(folder, tmp_path):
    with pytest.raises(ValueError, match="no training there"):
        runs([folder / "no-run"])
    with pytest.raises(ValueError, match="nowhere is no folder"):
        runs([tmp_path / "nowhere"])
    (folder / "a" / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"a/config\.json is damaged"):
        runs([folder])


@pytest.mark.parametrize(
    ("name", "message"), [("a.py", "expected the name of a PNG"), ("a.png", "exists")]
)
def test_a_picture_replaces_nothing(folder, tmp_path, name, message):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=message):
        runs([folder], plot=tmp_path / name)
    assert (tmp_path / name).read_text() == "mine"
