"""The command `evaluate`: comparisons and the page of all images."""

import re
import shutil

import numpy as np
import pytest
import typer
from scores import BICUBIC_X2, read
from scores import photos as photos
from scores import workdir as workdir

from sr_jax.commands.evaluate import evaluate
from sr_jax.data.sources import list_folder
from sr_jax.evaluation import report, scoring
from sr_jax.evaluation.report import compare
from sr_jax.evaluation.scoring import BICUBIC, Contender, Score, score_image
from sr_jax.imaging import comparison
from sr_jax.imaging.files import read_image


def test_the_image_that_gains_most_is_one_that_both_were_scored_on():
    scores = [
        Score("set", 2, "bicubic", "a", 30.0, 0.9),
        Score("set", 2, "bicubic", "b", 20.0, 0.9),
        Score("set", 2, "edsr", "a", 31.0, 0.9),
        Score("set", 2, "edsr", "c", 50.0, 0.9),
    ]
    assert report.gains_most(scores, 2, [BICUBIC, Contender("edsr")]) == "set/a"


def test_comparison_draws_the_image_that_gains_most(workdir, photos, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "sr_jax.evaluation.report.compare",
        lambda path, images, scale, *_, **__: drawn.append(images),
    )
    arguments = {"model": [str(workdir)], "output": tmp_path / "scores.json"}
    evaluate([photos], **arguments, comparison=tmp_path / "c.png")
    images = read(tmp_path / "scores.images.json")
    bicubic, network = images[:3], images[3:]
    gains = [ours["psnr"] - theirs["psnr"] for ours, theirs in zip(network, bicubic, strict=True)]
    ((dataset, pair),) = drawn.pop()
    assert (dataset, pair.name) == ("photos", network[int(np.argmax(gains))]["image"])
    names = ["photos/grey", "deep/rgba16"]
    arguments |= {"comparison": tmp_path / "c.png", "overwrite": True}
    evaluate([photos], **arguments, comparison_image=names)
    assert [pair.name for _, pair in drawn.pop()] == ["grey", "deep/rgba16"]


def test_comparison_is_labelled_with_the_scores(photos, tmp_path, monkeypatch):
    rows = []
    monkeypatch.setattr(comparison, "write_comparison", lambda path, drawn: rows.extend(drawn))
    (pair,) = (pair for pair in list_folder(photos, (2,)) if pair.name == "rgb")
    compare(tmp_path / "c.png", [("photos", pair)], 2, [BICUBIC, Contender("again")])
    psnr, ssim, image = score_image(pair, 2, None)
    label = f"{psnr:.2f} dB / {ssim:.4f}"
    expected = [f"bicubic\n{label}", f"again\n{label}", "ground truth\nPSNR / SSIM"]
    assert list(rows[0].panels) == expected
    np.testing.assert_array_equal(rows[0].panels[expected[0]], image)
    np.testing.assert_array_equal(rows[0].panels[expected[2]], pair.hr(2))


def test_comparison_is_written(workdir, photos, tmp_path):
    arguments = {"model": [str(workdir)], "output": tmp_path / "scores.json"}
    evaluate([photos], **arguments, comparison=tmp_path / "c.png", comparison_image=["rgb"])
    height, width = read_image(tmp_path / "c.png").shape[:2]
    assert width > 3 * height  # the whole and three details in a row
    arguments["output"] = tmp_path / "others.json"
    with pytest.raises(ValueError, match=r"c\.png exists: give --overwrite"):
        evaluate([photos], **arguments, comparison=tmp_path / "c.png")


def test_a_page_holds_all_images_and_leaves_nothing_beside(workdir, photos, tmp_path, capsys):
    arguments = {"model": [str(workdir)], "output": tmp_path / "scores.json"}
    evaluate([photos], **arguments, page=tmp_path / "out.html")
    text = (tmp_path / "out.html").read_text()
    assert text.count("<figure") == 3
    assert text.count('type="image/webp"') == 9  # bicubic, the network and the original
    mean = read(tmp_path / "scores.json")[1]
    assert f"<td>{mean['psnr']:.2f}</td><td>{mean['ssim']:.4f}</td>" in text
    assert re.search(r"out\.html: \d+\.\d MB\n", capsys.readouterr().out)
    assert not list(tmp_path.glob(".*"))
    arguments["output"] = tmp_path / "others.json"
    with pytest.raises(ValueError, match=r"out\.html exists: give --overwrite"):
        evaluate([photos], **arguments, page=tmp_path / "out.html")


@pytest.mark.parametrize("lost", [False, True])
def test_an_interrupted_page_goes_on_with_the_images_that_it_has(
    photos, tmp_path, monkeypatch, lost
):
    """One image fails at first; then that one alone is scored, and the page has all."""
    arguments = {**BICUBIC_X2, "output": tmp_path / "scores.json", "page": tmp_path / "out.html"}
    whole = (photos / "rgb.png").read_bytes()
    (photos / "rgb.png").write_bytes(whole[:100])
    with pytest.raises(typer.Exit):
        evaluate([photos], **arguments)
    assert (tmp_path / "out.html").read_text().count("<figure") == 2
    (photos / "rgb.png").write_bytes(whole)
    if lost:
        (kept,) = tmp_path.glob(".*")
        shutil.rmtree(kept)
    scored, score = [], scoring.score_image

    def spy(pair, *arguments, **options):
        scored.append(pair.name)
        return score(pair, *arguments, **options)

    monkeypatch.setattr(scoring, "score_image", spy)
    evaluate([photos], **arguments)
    assert len(scored) == (3 if lost else 1)
    assert (tmp_path / "out.html").read_text().count("<figure") == 3
    assert not list(tmp_path.glob(".*"))
