"""The comparison with PyTorch: runs that go on, and what becomes of the figures."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from rows import ENVIRONMENT, made_up, measured

from experiments.throughput import report, results
from experiments.throughput.networks import ENGINES, REDUCED, Cell, columns

program = importlib.import_module("experiments.throughput.__main__")


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Replaces the processes of a run; returns what they were asked, row by row."""

    def replace(fails_at: int = 100) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        def answer(request: dict[str, Any], cache: str | None = None) -> dict[str, Any]:
            if request["ask"] == "environment":
                return ENVIRONMENT
            if request["ask"] == "machine":
                return {"best": {"jax": 1e9, "pytorch": 1e9}, "bytes_per_second": 1e9}
            if request["ask"] == "memory":
                return {"peak_bytes": 10**8, "before_bytes": 10**7}
            if len(asked) == fails_at:
                raise KeyboardInterrupt
            asked.append(request["cell"])
            cell = Cell(**request["cell"] | {"size": tuple(request["cell"]["size"])})
            return made_up(cell, ours=1.0, pytorch_eager=2.0)

        program.machine.cache_clear()
        monkeypatch.setattr(program, "ask", answer)
        monkeypatch.setattr(program, "commit", lambda: "abc")
        return asked

    return replace


def test_a_run_goes_on_row_by_row_and_names_the_commit_of_each(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    output = tmp_path / "rows.json"
    before = ask(fails_at=3)
    with pytest.raises(KeyboardInterrupt):
        program.main(output, quick=True, only=["srcnn", "vdsr"])
    assert len(json.loads(output.read_text())["rows"]) == len(before) == 3
    after = ask()
    program.main(output, quick=True, only=["srcnn", "vdsr"])
    assert [cell["model"] for cell in after] == ["vdsr"]
    monkeypatch.setattr(program, "commit", lambda: "def")
    program.main(output, quick=True, only=["srcnn"], fresh=True)
    found = json.loads(output.read_text())
    assert len(found["rows"]) == 4
    assert found["conditions"]["jax"] == "1.0"
    assert {row["model"]: row["commit"] for row in found["rows"]} == {"srcnn": "def", "vdsr": "abc"}
    assert found["rows"][0]["pytorch"]["eager"]["peak_bytes"] == 2**28  # no process was asked
    assert "commit def (srcnn); commit abc (vdsr)." in output.with_suffix(".md").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "rows-memory.png",
        "rows-ratio.png",
        "rows.json",
        "rows.md",
    ]


def test_other_conditions_are_refused(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    output = tmp_path / "rows.json"
    ask()
    program.main(output, quick=True, only=["srcnn"])
    before = output.read_bytes()
    monkeypatch.setitem(ENVIRONMENT, "jax", "2.0")
    with pytest.raises(ValueError, match=r"measured with jax 1.0 \(now 2.0\).*--fresh"):
        program.main(output, quick=True, only=["srcnn"])
    assert output.read_bytes() == before
    program.main(output, quick=True, only=["vdsr"], fresh=True)
    assert {r["model"] for r in json.loads(output.read_text())["rows"]} == {"vdsr"}
    output.write_text("[1, 2]")
    with pytest.raises(ValueError, match="no file of throughput results"):
        program.main(output, quick=True, only=["vdsr"])
    program.main(output, quick=True, only=["vdsr"], fresh=True)
    assert len(json.loads(output.read_text())["rows"]) == 2
    with pytest.raises(ValueError, match=r"unknown network esrgan; known are srcnn"):
        program.main(output, only=["esrgan"])


def test_the_smaller_training_step_stands_in_for_one_that_was_not_run(
    ask: Callable[..., Any], tmp_path: Path
) -> None:
    asked = ask()
    program.main(tmp_path / "rows.json", only=["rcan"])
    found = json.loads((tmp_path / "rows.json").read_text())
    assert found["rows"][0]["pytorch"]["eager"]["peak_bytes"] == 10**8
    assert [(c["task"], c["batch"]) for c in asked if c["task"] == "train"] == [("train", 16)]
    cell = Cell("rcan", "train", (48, 48), 1, instead=Cell("rcan", "train", (48, 48), 16))
    large = results.without_figures(cell.instead, "not run: estimated 9 GFLOP and 99 GB")
    assert not program.superfluous({"rows": [large]}, cell)


def test_a_short_run_asks_for_less(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No memory, no published formulation, nothing in less than float32; another file's rows."""
    ask()
    answer, requests = program.ask, []

    def recorded(request: dict[str, Any], cache: str | None = None) -> dict[str, Any]:
        requests.append(request)
        return answer(request, cache)

    monkeypatch.setattr(program, "ask", recorded)
    output = tmp_path / "rows.json"
    program.main(output, short=True, only=["csnln"])
    assert {request["ask"] for request in requests} == {"environment", "row"}
    left = columns(Cell("csnln", "inference", (48, 48), 1)).keys() - set(requests[1]["without"])
    engines = {f"engine.{name}" for name in ENGINES}
    assert left == {"ours", "pytorch.eager", "pytorch.channels_last"} | engines
    with pytest.raises(ValueError, match=r"measured with short True \(now None\)"):
        program.main(output, budget=60.0, only=["csnln"])
    with pytest.raises(ValueError, match="exclude each other"):
        program.main(output, quick=True, short=True)


def test_a_quick_run_leaves_out_what_takes_longest() -> None:
    """Engines in less than float32, and PyTorch's compiler for the deep networks."""
    csnln, edsr = (Cell(name, "inference", (48, 48), 1) for name in ("csnln", "edsr"))
    left_out = [name for name in columns(csnln) if program.takes_long(csnln, name)]
    assert left_out[:2] == ["official.compiled", "pytorch.compiled"]
    assert left_out[2:] == [f"reduced.{name}" for name in REDUCED]
    assert not program.takes_long(edsr, "pytorch.compiled")


def test_failed_rows_are_measured_again(tmp_path: Path) -> None:
    cell = Cell("rcan", "train", (48, 48), 1)
    found = {"conditions": {}, "rows": []}
    results.store(tmp_path / "f.json", found, cell, results.without_figures(cell, "failed: why"))
    assert results.find(found, cell) is None
    results.store(tmp_path / "f.json", found, cell, made_up(cell, ours=1.0))
    assert len(found["rows"]) == 1
    assert results.find(found, cell) is not None


def test_processes_that_end_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed by the system: memory was short; any other failure is told by its last line."""
    cell = Cell("srcnn", "inference", (48, 48), 1)

    def end(code: int) -> None:
        ended = subprocess.CompletedProcess([], code, "", "Traceback\nValueError: unequal")
        monkeypatch.setattr(program.subprocess, "run", lambda *_, **__: ended)

    end(-9)
    assert program.measure(cell, {})["ours"] == {"status": "out of memory"}
    end(1)
    found = program.measure(cell, {})
    assert found["pytorch"]["eager"] == {"status": "failed: ValueError: unequal"}
    assert found["ratio"] is None


def test_report_of_a_made_up_file(tmp_path: Path) -> None:
    csnln, edsr = (Cell(name, "inference", (48, 48), 1) for name in ("csnln", "edsr"))
    large = Cell("edsr", "inference", (480, 640), 1)
    rows = [
        made_up(
            csnln,
            ours=2.0,
            official_eager=8.0,
            pytorch_eager=3.0,
            engine_onnxruntime=8.0,
            engine_openvino=5.0,
            reduced_openvino_int8=1.0,
        ),
        made_up(edsr, ours=2.0, pytorch_eager=1.0),
        results.without_figures(large, "not run: estimated 25,000 GFLOP and 2.00 GB"),
    ]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"conditions": ENVIRONMENT, "rows": rows}))
    written = report.write(path)
    assert [p.name for p in written] == ["rows.md", "rows-ratio.png", "rows-memory.png"]
    lines = written[0].read_text().splitlines()
    assert (
        "| edsr | inference | 48x48 | 1 | float32 | 2 (1.8 to 2.2) |  | 1 (0.9 to 1.1) | "
        "not available: no C++ compiler | not available: no C++ compiler | 0.50 |  |  |  |  |  |"
    ) in lines
    (line,) = (line for line in lines if line.startswith("| csnln") and "1.50" in line)
    assert "| 1.50 |  |  | eager 8 (7.2 to 8.8); channels_last not available: no C++" in line
    assert line.endswith("| 4.00 | 1.50 |")
    (line,) = (line for line in lines if line.startswith("| csnln") and "2.50" in line)
    assert line.endswith(
        "| 2 (1.8 to 2.2) | 8 (7.2 to 8.8), 256 MB | 5 (4.5 to 5.5), 256 MB | 2.50 |  |"
    )
    assert any("480x640" in line and "not run: estimated 25,000 GFLOP" in line for line in lines)
    order = [line.split()[1] for line in lines if line.startswith(("| edsr", "| csnln"))]
    assert order == [*["edsr", "edsr", "csnln"] * 3, "edsr", "csnln"]
    missing = "not available: no C++ compiler"
    coarser = f"| 48x48 | 1 | 2 (1.8 to 2.2) | {missing} | 1 (0.9 to 1.1), 256 MB | {missing} |"
    assert f"| csnln | inference {coarser}" in lines
    assert any("jax 1.0; torch 2.0" in line for line in lines)


def test_ratios_of_rounds_on_far_cores() -> None:
    """As those of the others: the fastest column of a side over ours."""
    far = {"ours": 3.0, "pytorch.eager": 6.0, "pytorch.compiled": 4.5, "engine.openvino": 2.4}
    row = results.arrange({k: measured(1.0) | {"far_median": v} for k, v in far.items()})
    assert (row["ratio"], row["ratio_engine"]) == (1.0, 1.0)
    assert (row["ratio_far"], row["ratio_engine_far"]) == (1.5, pytest.approx(0.8))
    assert "ratio_far" not in results.arrange({k: measured(1.0) for k in far})


@pytest.mark.slow
def test_the_command_from_end_to_end(tmp_path: Path) -> None:
    output = tmp_path / "rows.json"
    command = [sys.executable, "-m", "experiments.throughput", "--quick", "--only", "srcnn"]
    subprocess.run([*command, "--output", str(output)], check=True, capture_output=True)
    rows = json.loads(output.read_text())["rows"]
    assert [found["task"] for found in rows] == ["inference", "train"]
    for found in rows:
        assert found["ratio"] > 0
        assert found["ours"]["runs"] >= 3
        assert found["floors"].keys() == {"arithmetic", "traffic"}
        assert found["pytorch"]["eager"]["relative_error"]
    request = {"ask": "memory", "cell": Cell("srcnn", "train", (24, 24), 1).key()}
    request |= {"limits": {"budget": 1, "compile": 1}, "column": "ours", "layout": ""}
    found = program.ask(request)
    assert found["peak_bytes"] > found["before_bytes"] > 0


@pytest.mark.slow
def test_a_row_of_training_with_a_device_for_each_core() -> None:
    """The columns are refused if they compute different things."""
    cell = Cell("srresnet", "train", (24, 24), 2 * len(os.sched_getaffinity(0)))
    request = {"ask": "row", "cell": cell.key(), "limits": {"budget": 1, "compile": 1}}
    request |= {"without": ["pytorch.channels_last", "pytorch.compiled"], "at_best": None}
    found = program.ask(request)
    assert found["per_core"]["ours"]["relative_error"]["gradient 0"] > 0  # other sums
    assert found["ratio_per_core"] > 0
