"""`sr-jax upscale photo.jpg`: results beside the images, and bicubic interpolation as a model."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

from sr_jax import weights
from sr_jax.commands.upscale import upscale
from sr_jax.imaging.files import read_image, write_image
from sr_jax.imaging.resize import imresize
from sr_jax.models import create_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "weights.safetensors"
    network = create_model("edsr_baseline", n_resblocks=1, n_feats=4)
    variables = network.init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
    weights.save(path, network, variables)
    return str(path)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    write_image(path, np.random.default_rng(0).integers(0, 255, (20, 24, 3), np.uint8))
    return path


def files(folder):
    return {path.name for path in folder.iterdir()}


def test_results_lie_beside_the_images(model, photo, tmp_path, capsys):
    other = tmp_path / "deep" / "b.png"
    write_image(other, read_image(photo))
    upscale([photo, other], model=model)
    assert files(tmp_path) == {"photo.png", "photo_x2.png", "deep"}
    assert files(tmp_path / "deep") == {"b.png", "b_x2.png"}
    upscale([photo], model=model, scale=2.5, file_format="jpeg")
    assert read_image(tmp_path / "photo_x2.5.jpg").shape == (50, 60, 3)
    assert "written to" in capsys.readouterr().out


def test_files_that_exist_stay(model, photo, tmp_path):
    write_image(tmp_path / "photo_x2.png", read_image(photo))
    with pytest.raises(ValueError, match=r"photo_x2\.png exists"):
        upscale([photo], model=model)
    assert read_image(tmp_path / "photo_x2.png").shape == (20, 24, 3)


def test_a_relative_name(model, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    upscale([photo.relative_to(tmp_path)], model=model)
    assert files(tmp_path) == {"photo.png", "photo_x2.png"}


def test_results_of_a_folder_need_a_place(model, photo, tmp_path):
    with pytest.raises(ValueError, match=f"give --output, a folder for the results of {tmp_path}"):
        upscale([tmp_path], model=model)


@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)])
def test_bicubic_is_a_model(tmp_path, channels):
    image = np.random.default_rng(0).integers(1, 255, (20, 24, *channels), np.uint8)
    if channels in ((2,), (4,)):
        image[..., -1] = 255
    write_image(tmp_path / "a.png", image)
    upscale([tmp_path / "a.png"], model="bicubic", scale=1.5)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a_x1.5.png"), imresize(image, size=(30, 36))
    )


def test_bicubic_shows_no_hidden_colour(tmp_path):
    image = np.zeros((16, 16, 4), np.uint8)
    image[:, 8:] = 255  # white beside invisible black
    write_image(tmp_path / "a.png", image)
    upscale([tmp_path / "a.png"], model="bicubic", scale=2)
    result = read_image(tmp_path / "a_x2.png")
    assert (result[..., :3][result[..., 3] > 0] == 255).all()


@pytest.mark.parametrize("options", [{}, {"scale": 2, "dry_run": True}])
def test_what_bicubic_cannot_is_refused(photo, options):
    with pytest.raises(ValueError, match="--model bicubic needs --scale, and has no --comparison"):
        upscale([photo], model="bicubic", **options)


def test_a_dry_run_tells_seconds(model, photo, tmp_path, capsys):
    upscale([photo], model=model, dry_run=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert re.search(r"G multiply-adds, about \d+\.\d s here and what compiling takes$", line)
    assert files(tmp_path) == {"photo.png"}


def test_one_file_or_stem_however_it_is_spelled(model, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "photo.jpg", read_image(photo))
    (tmp_path / "link").symlink_to(tmp_path)
    given = ["photo.png", photo, tmp_path / "link" / "photo.jpg"]
    upscale([Path(path) for path in given], model=model)
    names = {"photo.png", "photo.jpg", "link", "photo.png_x2.png", "photo.jpg_x2.png"}
    assert files(tmp_path) == names


def test_results_are_not_taken_as_photos(model, photo, tmp_path, capsys):
    """As a pattern of the shell gives them when the command is typed again."""
    upscale([photo], model=model)
    upscale(sorted(tmp_path.iterdir()), model=model, overwrite=True)
    assert files(tmp_path) == {"photo.png", "photo_x2.png"}
    assert "photo_x2.png, the result of" in capsys.readouterr().out


def test_a_journal_that_cannot_be_written_costs_no_image(model, photo, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("read-only")

    monkeypatch.setattr("sr_jax.commands.journal.Journal.add", refuse)
    upscale([photo], model=model)
    assert files(tmp_path) == {"photo.png", "photo_x2.png"}


def test_another_command_leaves_an_interruption_alone(model, photo, tmp_path, monkeypatch, capsys):
    other = tmp_path / "z.png"
    write_image(other, read_image(photo))
    results = iter([read_image(photo)])

    def stop(*_, **__):
        try:
            return next(results)
        except StopIteration:
            raise KeyboardInterrupt from None

    with monkeypatch.context() as patch:
        patch.setattr("sr_jax.inference.upscaler.upscale_image", stop)
        with pytest.raises(KeyboardInterrupt):
            upscale([photo, other], model=model)
    upscale([other], model="bicubic", scale=3)
    upscale([photo, other], model=model)
    assert "going on (images done before: 1)" in capsys.readouterr().out
    assert files(tmp_path) == {"photo.png", "z.png", "photo_x2.png", "z_x2.png", "z_x3.png"}


def test_a_folder_may_have_a_dot_in_its_name(model, photo, tmp_path):
    upscale([photo], model=model, output=tmp_path / "large.v2")
    assert files(tmp_path / "large.v2") == {"photo.png"}
