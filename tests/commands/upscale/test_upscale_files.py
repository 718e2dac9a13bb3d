"""The command `upscale`: what it finds, names, refuses and keeps."""

import re
from pathlib import Path

import numpy as np
import pytest
import typer
from folders import noise, outputs

from sr_jax.commands.upscale import upscale
from sr_jax.imaging import files
from sr_jax.imaging.files import read_image, write_image


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for name in ("a.png", "b.JPG", "trip/a.tif", "trip/day 1/c[1].webp"):
        write_image(tmp_path / "album" / name, noise(5, 6, 3))
    (tmp_path / "album" / "notes.txt").touch()
    return tmp_path / "album"


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        (["album"], ["a.png", "b.png", "trip/a.png", "trip/day 1/c[1].png"]),
        (["album/b.JPG", "album/trip"], ["a.png", "b.png", "day 1/c[1].png"]),
        (["album/*.[pJ]*"], ["a.png", "b.png"]),
        (["album/**/c*"], ["c[1].png"]),
        (["album/trip/day 1/c[1].webp"], ["c[1].png"]),  # a file's name, not a pattern
        (["album/a.png", "album", "album/[a].png"], ["a.png", "b.png", "trip/a.png"]),
    ],
)
def test_files_folders_and_patterns(model, album, tmp_path, monkeypatch, inputs, found):
    monkeypatch.chdir(tmp_path)
    paths = [Path(path) for path in inputs]
    upscale(paths, model=model, output=Path("out"))
    assert set(found) <= set(outputs(Path("out")))
    assert len(outputs(Path("out"))) == (4 if "album" in inputs else len(found))


def test_suffix(model, album, tmp_path):
    upscale([album], model=model, output=album, suffix="_x2")
    assert {"a_x2.png", "trip/day 1/c[1]_x2.png"} <= set(outputs(album))
    with pytest.raises(ValueError, match="expected part of a file's name"):
        upscale([album], model=model, output=tmp_path, suffix="/x2")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("jpeg", "jpg"), ("webp", "webp"), ("avif", "avif"), ("tiff", "tif"), ("png", "png")],
)
def test_formats(model, album, tmp_path, name, kind):
    upscale([album / "a.png"], model=model, output=tmp_path / "out", file_format=name)
    assert outputs(tmp_path / "out") == [f"a.{kind}"]
    assert read_image(tmp_path / "out" / f"a.{kind}").shape == (10, 12, 3)


def test_the_output_of_one_image_may_be_a_file(model, album, tmp_path):
    sizes = []
    for quality in (20, 95):
        output = tmp_path / f"{quality}.JPG"
        upscale([album / "a.png"], model=model, output=output, quality=quality)
        assert read_image(output).shape == (10, 12, 3)
        sizes.append(output.stat().st_size)
    assert sizes[0] < sizes[1]
    assert outputs(tmp_path) == ["20.JPG", "95.JPG", *(f"album/{n}" for n in outputs(album))]


def test_what_a_format_cannot_store_costs_one_file(model, album, tmp_path, capsys):
    write_image(album / "deep.png", noise(5, 6, 3, dtype=np.uint16))
    error = failing(capsys, [album], model=model, output=tmp_path / "out", file_format="jpeg")
    assert re.search(r"deep\.jpg: JPEG cannot store 16-bit RGB", error)
    assert len(outputs(tmp_path / "out")) == 4


def test_bfloat16_of_16_bits_says_what_is_lost(model, tmp_path, capsys):
    write_image(tmp_path / "[b]deep.png", noise(5, 6, 3, dtype=np.uint16))
    upscale([tmp_path / "[b]deep.png"], model=model, output=tmp_path / "out", dtype="bfloat16")
    assert "[b]deep.png has 16 bits, bfloat16 keeps 8: give --dtype float32" in (
        capsys.readouterr().err
    )


def test_outputs_inside_the_input_folder_are_no_inputs(model, album, monkeypatch):
    monkeypatch.chdir(album)
    for _ in range(2):
        upscale([Path()], model=model, output=Path("large"), overwrite=True)
    assert len(outputs(album / "large")) == 4


def failing(capsys, *arguments, **options) -> str:
    """What an upscaling prints as errors that does not do everything."""
    with pytest.raises(typer.Exit) as exit_:
        upscale(*arguments, **options)
    assert exit_.value.exit_code == 1
    return capsys.readouterr().err


def test_two_inputs_of_one_name_cost_one_of_them(model, album, tmp_path, capsys):
    write_image(tmp_path / "other" / "a.png", noise(5, 6))
    inputs = [album / "a.png", tmp_path / "other", album / "b.JPG"]
    error = failing(capsys, inputs, model=model, output=tmp_path / "out")
    assert re.search(r"a\.png and .*other/a\.png would both become .*: only the first", error)
    assert len(outputs(tmp_path / "out")) == 2


def test_files_that_differ_in_their_suffix_keep_it(model, tmp_path):
    for name in ("a.png", "a.jpg", "b.png"):
        write_image(tmp_path / "in" / name, noise(5, 6, 3))
    upscale([tmp_path / "in"], model=model, output=tmp_path / "out")
    assert outputs(tmp_path / "out") == ["a.jpg.png", "a.png.png", "b.png"]


def test_a_name_too_long_costs_one_file(model, tmp_path, capsys):
    write_image(tmp_path / "in" / f"{'m' * 251}.png", noise(5, 6))
    write_image(tmp_path / "in" / "good.png", noise(5, 6))
    (tmp_path / "out").mkdir()
    options = {"model": model, "output": tmp_path / "out", "suffix": "_x2"}
    assert "the name of its output is too long" in failing(capsys, [tmp_path / "in"], **options)
    assert outputs(tmp_path / "out") == ["good_x2.png"]


def test_an_interrupted_run_goes_on(model, album, tmp_path, monkeypatch, capsys):
    write, done = files.write_image, []

    def write_two(path, *arguments, **options):
        if len(done) == 2:
            raise KeyboardInterrupt
        write(path, *arguments, **options)
        done.append(path)

    monkeypatch.setattr(files, "write_image", write_two)
    picture = tmp_path / "picture.png"
    with pytest.raises(KeyboardInterrupt):
        upscale([album], model=model, output=tmp_path / "out", comparison=picture)
    monkeypatch.setattr(files, "write_image", write)
    before = {path: path.stat().st_mtime_ns for path in done}
    with pytest.raises(ValueError, match="exists and is not of an unfinished run of this command"):
        upscale([album], model=model, output=tmp_path / "out", ensemble=True)
    write_image(album / "b.JPG", noise(8, 8, 3))  # changed since: done anew
    drawn = picture.stat().st_mtime_ns
    upscale([album], model=model, output=tmp_path / "out", comparison=picture)
    assert picture.stat().st_mtime_ns == drawn
    assert "going on (images done before: 1)" in capsys.readouterr().out
    assert len(outputs(tmp_path / "out")) == 4
    assert sum(path.stat().st_mtime_ns == when for path, when in before.items()) == 1


def test_of_a_folder_that_grows_the_new_images_are_done(model, album, tmp_path, capsys):
    upscale([album], model=model, output=tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    write_image(album / "new.png", noise(5, 6, 3))
    upscale([album], model=model, output=tmp_path / "out")
    printed = capsys.readouterr().out
    assert "going on (images done before: 4)" in printed
    assert "1 of 1 images written" in printed
    assert (tmp_path / "out" / "new.png").exists()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(ValueError, match="exists and is not of an unfinished run"):
        upscale([album], model=model, output=tmp_path / "out", ensemble=True)


def test_no_output_replaces_another_input(model, tmp_path, capsys):
    for name in ("a.png", "a_x2.png"):
        write_image(tmp_path / name, noise(5, 6))
    options = {"model": model, "output": tmp_path, "suffix": "_x2", "overwrite": True}
    error = failing(capsys, [tmp_path], **options)
    assert re.search(r"a\.png would replace the input .*a_x2\.png", error)
    (tmp_path / "a_x2_x2.png").unlink()
    upscale([tmp_path], model=model, output=tmp_path, overwrite=True)  # each its own
    assert read_image(tmp_path / "a.png").shape == (10, 12)


def test_inputs_that_name_nothing_are_reported(model, album, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    inputs = [tmp_path / "empty", album / "*.gif", album / "none.png", album / "a.png"]
    with pytest.raises(typer.Exit) as exit_:
        upscale(inputs, model=model, output=tmp_path / "out")
    assert exit_.value.exit_code == 1
    first, second, third = capsys.readouterr().err.splitlines()
    assert re.match("error: .*empty holds no image", first)
    assert re.match(r"error: no file matches .*\*\.gif$", second)
    assert re.match(r"error: cannot read image .*none\.png: no such file$", third)
    assert outputs(tmp_path / "out") == ["a.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": None, "step": 3}, "--step is of a training workdir: give it with --model"),
        ({"model": "none"}, "none: no such weights file or workdir"),
        ({"scale": -2.0}, "--scale is -2.0, expected a positive number"),
        ({"scale": float("nan")}, "--scale is nan"),
        ({"tile": "huge"}, "--tile is 'huge', expected auto, none or a number of pixels"),
        ({"tile": "0"}, "tile is 0"),
        ({"overlap": "some"}, "--overlap is 'some', expected exact or a number of pixels"),
        ({"batch": 0}, "batch is 0"),
        ({"tile": "64", "shard_image": True}, "tiles of 64 pixels were asked for, and to split"),
        ({"output": "file"}, "--output .*file is a file, expected a folder"),
        ({"output": Path("x.jpg")}, "--output x.jpg names one image, but 4 are given"),
        ({"output": Path("x.jpg"), "file_format": "png"}, "names the format already"),
        ({"output": Path("nosuch://bucket/x")}, "nosuch://bucket/x: .*not known"),
        ({"quality": 90}, "--quality is for JPEG, WebP and AVIF, not for .png files"),
    ],
)
def test_refused_before_any_work(model, album, tmp_path, options, message):
    (tmp_path / "file").touch()
    arguments = {"model": model, "output": tmp_path / "out", **options}
    if arguments["output"] == "file":
        arguments["output"] = tmp_path / "file"
    with pytest.raises(ValueError, match=message):
        upscale([album], **arguments)
    assert not (tmp_path / "out").exists()


def test_existing_outputs_are_kept_before_any_work(model, album, tmp_path):
    out = tmp_path / "out"
    (out / "trip").mkdir(parents=True)
    (out / "trip" / "a.png").write_text("mine")
    with pytest.raises(ValueError, match=r"trip/a\.png exists and is not of .*: give --overwrite"):
        upscale([album], model=model, output=out)
    assert outputs(out) == ["trip/a.png"]
    assert (out / "trip" / "a.png").read_text() == "mine"
    upscale([album], model=model, output=out, overwrite=True)
    assert read_image(out / "trip" / "a.png").shape == (10, 12, 3)
