"""The run on a card: what a stage that fails, hangs or is cut short leaves of the earlier ones."""

import json
import signal
import subprocess
import textwrap

import numpy as np
import pytest
import typer
from PIL import Image

from experiments.gpu import __main__ as program
from experiments.gpu import correctness, prepare, speed, stages, training
from experiments.gpu.report import write_report
from experiments.gpu.stages import Results, Runner, Stage

CHILD = """
import os, sys, time
from experiments.gpu.serving import serve

def measure(item, options):
    print("noise on standard output")
    if item == "raises":
        raise ValueError("no such\\nthing")
    if item == "crashes":
        os._exit(3)
    if item == "hangs":
        time.sleep(60)
    return {"answer": item, "pid": os.getpid()}

serve(measure)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "fake_child.py").write_text(textwrap.dedent(CHILD))
    paths = f"{tmp_path}:{stages.REPOSITORY}"
    monkeypatch.setenv("PYTHONPATH", paths)

    def start(*given: Stage, seconds: float = 60.0) -> dict:
        results = Results(tmp_path / "out", {"commit": "none"})
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        runner = Runner(results, scratch, seconds)
        for stage in given:
            runner.run(stage)
        found = json.loads((tmp_path / "out" / "results.json").read_text())
        assert found == results.found
        return found["stages"]

    return start


def stage(name: str, *items: str, until: float = 1.0, limit: float = 30.0) -> Stage:
    return Stage(name, "fake_child", items, until, limit)


def test_an_item_that_raises_or_crashes_costs_itself_alone(run):
    items = run(stage("a", "one", "raises", "two", "crashes", "three"))["a"]["items"]
    assert [items[name]["answer"] for name in ("one", "two", "three")] == ["one", "two", "three"]
    assert items["raises"]["status"] == "failed: ValueError: no such thing"
    assert "exit code 3" in items["crashes"]["status"]
    assert items["one"]["pid"] == items["two"]["pid"] != items["three"]["pid"]


def test_an_item_that_hangs_is_stopped_and_the_rest_goes_on(run):
    items = run(stage("a", "one", "hangs", "two", limit=4.0))["a"]["items"]
    assert items["hangs"]["status"].startswith("stopped: over its limit")
    assert items["one"]["answer"] == "one"
    assert items["two"]["answer"] == "two"


def test_a_deadline_keeps_what_is_there(run):
    found = run(stage("a", "one"), stage("b", "two", "hangs", "three"), seconds=8.0)
    assert found["a"]["items"]["one"]["answer"] == "one"
    assert found["b"]["items"]["two"]["answer"] == "two"
    assert found["b"]["items"]["hangs"]["status"].startswith("stopped")
    assert found["b"]["items"]["three"]["status"] == stages.NOT_REACHED


def test_what_an_earlier_run_measured_is_kept(run, tmp_path):
    found = run(stage("a", "one", "raises"))
    results = Results(tmp_path / "again", {})
    results.carry_over({"stages": found}, ["a"])
    assert list(results.items("a")) == ["one"]


def test_a_folder_with_files_is_refused(tmp_path):
    (tmp_path / "vdsr.safetensors").write_bytes(b"of an earlier run")
    with pytest.raises(typer.BadParameter, match="is not empty: give a new folder"):
        program.main(output=tmp_path)


@pytest.mark.parametrize("code", [128 + signal.SIGTERM, -signal.SIGTERM])
def test_a_training_that_is_told_to_end_has_not_failed(code, tmp_path, monkeypatch):
    ended = subprocess.CompletedProcess([], code)
    monkeypatch.setattr(training.subprocess, "run", lambda *_, **__: ended)
    found = training.train(tmp_path)
    assert found["stopped"]
    assert found["step"] == 0


def test_the_telling_rows_come_first():
    rows = speed.items(small=False)
    assert rows[0] == "edsr_baseline train float32"
    assert len(set(rows)) == len(rows) == 6 * 10
    cases = correctness.items(small=False)
    assert all(case.endswith("float32") for case in cases[:11])
    assert all((correctness.REFERENCES / f"{case.split()[0]}.npz").exists() for case in cases[:11])


def test_the_report_tells_of_failures_too(tmp_path):
    items = {
        "srcnn_915_y float32": {
            "status": "measured",
            "output": 1e-7,
            "tolerance": 2e-5,
            "gradient": 1e-6,
            "gradient_tolerance": 1e-2,
            "right": True,
        },
        "resume": {"status": "stopped: over its limit of 90 s"},
    }
    found = {"conditions": {}, "stages": {"correctness": {"items": items}}}
    write_report(found, tmp_path / "report.md")
    page = (tmp_path / "report.md").read_text()
    assert "| srcnn_915_y float32 | 1.0e-07 | 2.0e-05 | 1.0e-06 | 1.0e-02 | True |" in page
    assert "| resume |  |  |  |  | stopped: over its limit of 90 s |" in page


def test_the_report_puts_scores_beside_the_papers(tmp_path):
    rows = [
        {"scale": scale, "method": method, "psnr": value}
        for scale, method, value in ((2, "bicubic", 33.661), (2, "vdsr", 37.5), (4, "vdsr", 31.3))
    ]
    answer = {"status": "measured", "published": training.PUBLISHED, "rows": rows, "flops": 9.9e14}
    write_report(
        {"conditions": {}, "stages": {"vdsr": {"items": {"vdsr scores": answer}}}},
        tmp_path / "report.md",
    )
    page = (tmp_path / "report.md").read_text()
    assert "| vdsr scores | status measured, flops 990,000e9 |" in page
    assert "| scale | bicubic, dB | vdsr, dB | paper, dB |" in page
    assert "| x2 | 33.66 | 37.50 | 37.53 |" in page
    assert "| x4 |  | 31.30 | 31.35 |" in page


def test_what_is_sent_counts_the_repository_and_is_refused_when_it_is_too_large(tmp_path, capsys):
    folders = [tmp_path / name for name in ("T91", "BSDS200", "Set5")]
    for folder in folders:
        folder.mkdir()
        pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "a.png")
    output = tmp_path / "data"
    prepare.main(*folders, output=output, most=1e3)
    where = ("291/train/T91", "291/train/BSDS200", "291/validation/Set5")
    for name in where:
        with Image.open(output / name / "a.webp") as image:
            np.testing.assert_array_equal(np.asarray(image), pixels)
    assert f"{prepare.tree_bytes() / 2**20:.1f} MiB of the repository" in capsys.readouterr().out
    with pytest.raises(typer.BadParameter, match="MiB over --most"):
        prepare.main(*folders, output=output, most=prepare.tree_bytes() / 2**20)
