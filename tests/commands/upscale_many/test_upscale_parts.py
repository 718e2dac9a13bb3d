"""`sr-jax upscale` in parts and at addresses: every image once, as by one process."""

import csv
import io
import itertools
import threading
import uuid
from pathlib import Path

import jax
import numpy as np
import pytest
import typer
from albums import SHAPES, failures, pixels
from albums import album as album

from sr_jax import pretrained, weights
from sr_jax.commands.upscale import upscale
from sr_jax.imaging.files import write_image
from sr_jax.scale import blocks, places
from sr_jax.scale.blocks import Block

TARGETS = {"a.png", "b.png", "trip/a.png", "trip/c.png"}


@pytest.fixture
def expected(model, album, tmp_path) -> dict[str, np.ndarray]:
    """What one process makes of the album."""
    upscale([album], model=model, output=tmp_path / "one")
    return pixels(tmp_path / "one")


def assert_same(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert actual.keys() == expected.keys() == TARGETS
    for name, image in expected.items():
        np.testing.assert_array_equal(actual[name], image, err_msg=name)


# ------------------------------------------------------------------ parts


def test_parts_give_what_one_process_gives(model, album, expected, tmp_path, capsys):
    written: list[set[str]] = []
    for number in (1, 2, 3):
        upscale([album], model=model, output=tmp_path / "out", part=f"{number}/3")
        written.append(set(pixels(tmp_path / "out")) - set().union(*written))
        assert f"part {number}/3: {len(written[-1])} of 4 images" in capsys.readouterr().out
    assert sorted(name for part in written for name in part) == sorted(TARGETS)
    assert_same(pixels(tmp_path / "out"), expected)


def test_finished_images_are_not_done_again_in_other_parts_either(model, album, tmp_path, capsys):
    out = tmp_path / "out"
    for part in ("1/2", "2/2"):
        upscale([album], model=model, output=out, part=part)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    write_image(album / "a.png", np.zeros((6, 6, 3), np.uint8))  # changed since
    write_image(album / "new.png", np.zeros((6, 6, 3), np.uint8))
    for number in (1, 2, 3):  # other parts than before
        upscale([album], model=model, output=out, part=f"{number}/3", scale=2)
    assert set(pixels(out)) == TARGETS | {"new.png"}
    again = {path.relative_to(out).as_posix() for path, at in times.items() if _when(path) != at}
    assert again == {"a.png"}
    with pytest.raises(ValueError, match=r"exists and was not made by this command: give --overw"):
        upscale([album], model=model, output=out, part="1/1", ensemble=True)
    capsys.readouterr()
    upscale([album], model=model, output=out, part="1/1", overwrite=True)
    assert "5 of 5 images written" in capsys.readouterr().out


def _when(path: Path) -> int:
    return path.stat().st_mtime_ns


def test_names_are_given_to_the_images_of_all_parts(model, tmp_path, capsys):
    """Two images of one stem lie in two parts, as does one whose place another one has."""
    for name in ("in/a.png", "in/a.jpg", "other/b.png", "in/b.png"):
        write_image(tmp_path / name, np.zeros((5, 6, 3), np.uint8))
    inputs, out = [tmp_path / "in", tmp_path / "other"], tmp_path / "out"
    lines = []
    for number in (1, 2, 3, 4):
        try:
            upscale(inputs, model=model, output=out, part=f"{number}/4")
        except typer.Exit:
            lines += failures(out / f"failures-{number}-of-4.csv")[1:]
    assert set(pixels(out)) == {"a.jpg.png", "a.png.png", "b.png.png"}
    ((image, reason),) = lines
    assert image == str(tmp_path / "other" / "b.png")
    assert "would both become" in reason
    assert "other/b.png would both become" in capsys.readouterr().err


def test_an_interrupted_part_goes_on_where_it_was(model, album, expected, tmp_path, monkeypatch):
    """Within a block of images, of which the first two are written."""
    out, write, done = tmp_path / "out", places.write, []
    monkeypatch.setattr(blocks, "split", lambda images, _: [Block(uuid.uuid4().hex, list(images))])

    turns, both = itertools.count(), threading.Event()  # results are written by several threads

    def write_two(place, content):
        if place.endswith(".png") and next(turns) >= 2:
            both.wait(60)
            raise KeyboardInterrupt
        write(place, content)
        done.extend([place] if place.endswith(".png") else [])
        if len(done) == 2:
            both.set()

    monkeypatch.setattr(places, "write", write_two)
    with pytest.raises(KeyboardInterrupt):
        upscale([album], model=model, output=out, part="1/1")
    monkeypatch.setattr(places, "write", write)
    before = {path: _when(Path(path)) for path in done}
    upscale([album], model=model, output=out, part="1/1")
    assert {path: _when(Path(path)) for path in done} == before
    assert_same(pixels(out), expected)


def test_one_bad_image_costs_no_other_and_stands_in_the_table(model, album, expected, tmp_path):
    (album / "b.png").write_bytes(b"no image")
    (album / "b.JPG").rename(album / "d.JPG")
    out = tmp_path / "out"
    for _ in range(2):
        with pytest.raises(typer.Exit) as exit_:
            upscale([album], model=model, output=out, part="1/1")
        assert exit_.value.exit_code == 1
        (head, row) = failures(out / "failures.csv")
        assert head == ["image", "reason"]
        assert row[0] == str(album / "b.png")
        assert "not a PNG, JPEG" in row[1]
    assert set(pixels(out)) == TARGETS - {"b.png"} | {"d.png"}
    (album / "b.png").unlink()
    upscale([album], model=model, output=out, part="1/1")
    assert not (out / "failures.csv").exists()


def test_names_that_are_no_text(model, tmp_path):
    """As file systems allow them."""
    for name, content in (("caf\udce9.png", None), ("n\udce9e\n,.png", b"no image")):
        write_image(tmp_path / "in" / name, np.zeros((5, 6, 3), np.uint8))
        if content:
            (tmp_path / "in" / name).write_bytes(content)
    with pytest.raises(typer.Exit):
        upscale([tmp_path / "in"], model=model, output=tmp_path / "out", part="1/1")
    assert (tmp_path / "out" / "caf\udce9.png").exists()
    table = (tmp_path / "out" / "failures.csv").read_bytes().decode(errors="surrogateescape")
    _, (image, _) = csv.reader(io.StringIO(table, newline=""))
    assert image == str(tmp_path / "in" / "n\udce9e\n,.png")


def test_a_file_of_another_meaning_is_not_replaced_by_the_table(model, album, tmp_path):
    places.write(str(tmp_path / "out" / "failures.csv"), b"mine")
    with pytest.raises(ValueError, match=r"failures\.csv is no table of failures: move it"):
        upscale([album], model=model, output=tmp_path / "out", part="1/1")


def test_networks_are_chosen_image_by_image(model, album, tmp_path, monkeypatch, capsys):
    network, variables = weights.load(model)
    other = str(tmp_path / "other.safetensors")
    weights.save(other, network, jax.tree.map(lambda leaf: -leaf, variables))
    card = pretrained.choose()

    def choose(scale, kind):
        return card._replace(name=other if kind == "photo" else model)

    monkeypatch.setattr(pretrained, "choose", choose)
    upscale([album], output=tmp_path / "one")
    upscale([album], output=tmp_path / "out", part="1/1")
    assert_same(pixels(tmp_path / "out"), pixels(tmp_path / "one"))
    assert f"images in JPEG: {other}, others: {model}" in capsys.readouterr().out


def test_options_reach_the_workers(model, album, tmp_path):
    options = {"scale": 2.5, "suffix": "_x", "file_format": "webp", "dtype": "bfloat16"}
    options |= {"tile": "4", "overlap": "1", "ensemble": True, "alpha": "network", "quality": 50}
    for name in ("trip/a.tif", "trip/c.png"):
        (album / name).unlink()
    upscale([album], model=model, output=tmp_path / "one", **options)
    upscale([album], model=model, output=tmp_path / "out", part="1/1", **options)
    for name in ("a_x.webp", "b_x.webp"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


def test_bicubic_interpolation_in_parts(album, tmp_path):
    for output, part in (("one", None), ("out", "1/1")):
        upscale([album], model="bicubic", scale=1.5, output=tmp_path / output, part=part)
    assert_same(pixels(tmp_path / "out"), pixels(tmp_path / "one"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": None}, "give --output, a folder or an address"),
        ({"output": Path("a.png")}, "give --output, a folder or an address"),
        ({"comparison": Path("c.png")}, "--comparison does not go with --part"),
        ({"dry_run": True}, "--dry-run does not go with --part"),
        ({"ray": "local"}, "give --ray or --part"),
        ({"part": None, "workers": 2}, "--workers is of --ray"),
        ({"part": None, "ray": "album"}, "--ray is 'album', expected HOST:PORT, auto or nothing"),
        ({"part": None, "ray": "local", "shard_image": True}, "--shard-image does not go with"),
    ],
)
def test_refused_before_any_work(model, album, tmp_path, options, message):
    arguments = {"model": model, "output": tmp_path / "out", "part": "1/2", **options}
    with pytest.raises(ValueError, match=message):
        upscale([album], **arguments)
    assert not (tmp_path / "out").exists()


def test_a_task_of_an_array_is_told_that_it_does_all(model, album, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    for name, value in {"MIN": 0, "MAX": 1, "COUNT": 2}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    upscale([album], model=model, output=tmp_path / "all")
    assert set(pixels(tmp_path / "all")) == TARGETS
    assert "task 1 of a SLURM array does all images" in capsys.readouterr().err
    upscale([album], model=model, output=tmp_path / "own", part="auto")
    assert "part 2/2" in capsys.readouterr().out
    assert set(pixels(tmp_path / "own")) < TARGETS


# ------------------------------------------------------------------ addresses


def test_from_address_to_address(model, album, expected, tmp_path, capsys):
    """Without --part or --ray too; the same again has nothing to do."""
    pytest.importorskip("fsspec", reason="addresses need fsspec, of the extra scale")
    root = f"memory://{uuid.uuid4().hex}"
    for name in SHAPES:
        places.write(f"{root}/in/{name}", (album / name).read_bytes())
    places.write(f"{root}/in/notes.txt", b"x")
    for said in ("4 of 4 images written", "going on (images done before: 4)"):
        upscale([Path(f"{root}/in")], model=model, output=Path(f"{root}/out"))
        printed = capsys.readouterr().out
        assert said in printed
        assert f"left out of {root}/in: no image by its suffix: notes.txt" in printed
    for name in TARGETS:
        places.write(str(tmp_path / "out" / name), places.read(f"{root}/out/{name}"))
    assert_same(pixels(tmp_path / "out"), expected)
    places.write(f"{root}/in/a.png", (album / "b.JPG").read_bytes())
    upscale([Path(f"{root}/in/*.png")], model=model, output=Path(f"{root}/out"))
    assert places.read(f"{root}/out/a.png") == places.read(f"{root}/out/b.png")


def test_an_address_that_cannot_be_reached(model, album, tmp_path):
    with pytest.raises(ValueError, match=r"^nosuch://bucket: "):
        upscale([album], model=model, output=Path("nosuch://bucket"))
    with pytest.raises(typer.Exit):
        upscale([Path("memory://none")], model=model, output=tmp_path / "out")
    assert "memory://none holds no image" in (tmp_path / "out" / "failures.csv").read_text()
