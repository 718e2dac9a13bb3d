"""`sr-jax evaluate` in parts, at addresses and by Ray: the scores of one process, to the bit."""

import csv
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
import typer

from sr_jax import weights
from sr_jax.commands.evaluate import evaluate
from sr_jax.imaging.files import read_image, write_image
from sr_jax.inference.settings import Settings
from sr_jax.scale import places, scoring
from sr_jax.scale.blocks import Block, Watch

FILES = ("scores.json", "scores.images.json", "scores.csv", "scores.means.csv")


@pytest.fixture
def photos(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("HR/a", "HR/b", "HR/deep/c", "HR/d", "HR/e"):
        image = rng.integers(0, 256, (28, 30, 3), np.uint8)
        write_image(tmp_path / "photos" / f"{name}.png", image)
        low = (tmp_path / "photos" / name.replace("HR", "LR/X2")).with_suffix(".png")
        write_image(low, np.ascontiguousarray(image[::2, ::2]))
    return tmp_path / "photos"


@pytest.fixture
def expected(model, photos, tmp_path) -> dict[str, str]:
    """The files that one process writes."""
    evaluate([photos], model=[model], output=tmp_path / "one" / "scores.json")
    return read(tmp_path / "one")


def read(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in FILES}


def test_a_part_keeps_scores_that_exist(model, photos, tmp_path):
    output = tmp_path / "scores.json"
    output.touch()
    with pytest.raises(ValueError, match=r"scores\.json exists: give --overwrite"):
        evaluate([photos], model=[model], output=output, part="1/2")


def test_parts_are_joined_to_what_one_process_gives(model, photos, expected, tmp_path, capsys):
    output = tmp_path / "scores.json"
    for number in (1, 2, 3):
        with pytest.raises(ValueError, match=r"--join finds no|are in no part, photos/.* among"):
            evaluate([photos], model=[model], output=output, join=True)
        evaluate([photos], model=[model], output=output, part=f"{number}/3")
        assert f"part {number}/3: " in capsys.readouterr().out
    # None writes what another one writes, perhaps at the same time.
    written = {path.name for path in tmp_path.glob("scores*")}
    assert written == {f"scores.unfinished-{number}-of-3.jsonl" for number in (1, 2, 3)}
    evaluate([photos], model=[model], output=output, join=True)
    assert read(tmp_path) == expected
    assert not list(tmp_path.glob("*unfinished*"))
    with pytest.raises(ValueError, match="--join finds no"):
        evaluate([photos], model=[model], output=output, join=True)


def test_a_part_goes_on_and_is_not_done_twice(model, photos, tmp_path, capsys):
    output = tmp_path / "scores.json"
    for said in ("part 1/2", "going on ("):
        evaluate([photos], model=[model], output=output, part="1/2")
        assert said in capsys.readouterr().out
    lines = (tmp_path / "scores.unfinished-1-of-2.jsonl").read_text().splitlines()
    keys = [json.loads(line)["key"] for line in lines[1:]]
    assert len(keys) == len(set(keys)) > 0


def test_a_part_of_another_command_is_not_joined(model, photos, tmp_path):
    output = tmp_path / "scores.json"
    for number in (1, 2):
        evaluate([photos], model=[model], output=output, part=f"{number}/2")
    with pytest.raises(ValueError, match=r"1-of-2\.jsonl is of other images, networks or options"):
        evaluate([photos], model=[model], output=output, join=True, round_luma=True)
    write_image(photos / "HR" / "a.png", np.zeros((28, 30, 3), np.uint8))  # changed since
    with pytest.raises(ValueError, match="2 of 10 scores are in no part, photos/a x2 bicubic"):
        evaluate([photos], model=[model], output=output, join=True)


def test_what_a_part_could_not_score_is_named_when_parts_are_joined(
    model, photos, tmp_path, capsys
):
    output, good = tmp_path / "scores.json", (photos / "HR" / "b.png").read_bytes()
    (photos / "HR" / "b.png").write_bytes(good[:100])
    codes = []
    for number in (1, 2):
        try:
            evaluate([photos], model=[model], output=output, part=f"{number}/2")
        except typer.Exit as exit_:
            codes.append(exit_.exit_code)
    assert codes == [1]
    capsys.readouterr()
    with pytest.raises(typer.Exit):
        evaluate([photos], model=[model], output=output, join=True)
    printed = capsys.readouterr()
    assert "photos/b x2 bicubic: cannot read image" in printed.err
    assert "2 scores are missing, see above; the means are over the others" in printed.out
    assert [row["images"] for row in json.loads(output.read_text())] == [4, 4]
    (photos / "HR" / "b.png").write_bytes(good)
    for number in (1, 2):
        evaluate([photos], model=[model], output=output, part=f"{number}/2")
    evaluate([photos], model=[model], output=output, join=True, overwrite=True)
    assert [row["images"] for row in json.loads(output.read_text())] == [5, 5]


def test_images_at_an_address(model, photos, expected, tmp_path, capsys):
    pytest.importorskip("fsspec", reason="addresses need fsspec, of the extra scale")
    root = f"memory://{uuid.uuid4().hex}/photos"
    for path in photos.rglob("*.png"):
        places.write(f"{root}/{path.relative_to(photos).as_posix()}", path.read_bytes())
    output = tmp_path / "scores.json"
    out = tmp_path / "out"
    evaluate([Path(root)], model=[model], output=output, save_images=out)
    assert read(tmp_path) == expected
    assert read_image(out / "photos" / "X2" / "edsr" / "deep" / "c.png").shape == (28, 30, 3)
    places.write(f"{root}/HR/a.png", b"no image")
    with pytest.raises(typer.Exit):
        evaluate([Path(root)], model=[model], output=output, overwrite=True)
    assert f"photos/a x2 edsr: cannot read image {root}/HR/a.png: not a PNG" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": "1/2", "comparison": Path("c.png")}, "--comparison does not go with --part"),
        ({"part": "1/2", "join": True}, "--join does not go with --part"),
        ({"ray": "local", "join": True}, "--join does not go with --ray"),
        ({"part": "3/2"}, "--part is 3/2"),
        ({"workers": 2}, "--workers is of --ray"),
    ],
)
def test_refused_before_any_work(model, photos, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        evaluate([photos], model=[model], output=tmp_path / "scores.json", **options)
    assert not list(tmp_path.glob("scores*"))


def test_an_image_at_which_workers_end_is_left_out(model, photos):
    def image(name: str) -> scoring.Image:
        return scoring.Image("photos", name, str(photos / "HR" / f"{name}.png"), [], asked)

    asked, watch = [(2, "bicubic"), (2, "tiny")], Watch()
    job = scoring.Job({"bicubic": (None, Settings()), "tiny": ("tiny", Settings())}, False, {})
    for _ in range(2):
        watch.begin("block")
    watch.at("block", image("a").hr)  # the second worker ends there
    worker = scoring.Scoring(job, {"tiny": weights.load(model)}, watch)
    outcome = worker(Block("block", [image("a"), image("b")]))
    assert [score.image for score in outcome.scores] == ["b", "b"]
    assert [(key.image, key.method) for key, _ in outcome.failures] == [
        ("a", "bicubic"),
        ("a", "tiny"),
    ]
    assert all("a worker ended" in reason for _, reason in outcome.failures)


@pytest.mark.slow
def test_workers_of_ray_give_what_one_process_gives(model, photos, expected, tmp_path):
    pytest.importorskip("ray", reason="needs Ray, of the extra scale")
    command = [sys.executable, "-m", "sr_jax", "evaluate", str(photos), "--model", model]
    command += ["--output", str(tmp_path / "scores.json"), "--ray", "--workers", "2"]
    command += ["--save-images", "out"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert read(tmp_path) == expected
    rows = list(csv.DictReader(read(tmp_path)["scores.csv"].splitlines()))
    saved = {(tmp_path / f"out/photos/X2/{r['method']}/{r['image']}.png").exists() for r in rows}
    assert saved == {True}
