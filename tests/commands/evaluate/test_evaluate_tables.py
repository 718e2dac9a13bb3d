"""The command `evaluate`: tables, beside published figures, of several networks, for papers."""

import shutil

import jax
import numpy as np
import pytest
from scores import photos as photos
from scores import read
from scores import workdir as workdir

from sr_jax import weights
from sr_jax.commands.evaluate import evaluate
from sr_jax.evaluation.report import print_scores, write_scores
from sr_jax.evaluation.scoring import BICUBIC, Contender, Score
from sr_jax.models import create_model

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


# ------------------------------------------------------------------ several networks


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
