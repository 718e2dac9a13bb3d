"""Rows that a run goes on with, their table, what is kept of samples, and turns."""

import json
from pathlib import Path
from typing import Any

import pytest

from experiments import harness
from experiments.harness import interleave


def made_up(rows: list[dict[str, Any]]) -> str:
    lines = ([row["side"], f"{row['seconds']:.1f}"] for row in rows)
    return "\n".join(harness.table(["side", "seconds"], lines))


def test_a_run_goes_on_with_the_rows_it_left(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    rows = harness.Rows(folder, made_up, "turns")
    assert rows.missing({"side": 48})
    rows.add({"side": 48, "scale": 2, "seconds": 1.25})
    again = harness.Rows(folder, made_up, "turns")
    assert again.found == rows.found
    assert not again.missing({"side": 48})
    assert again.missing({"side": 48, "scale": 3})
    again.add({"side": 96, "scale": 3, "seconds": 2.0})
    lines = (folder / "turns.json").read_text().splitlines()
    assert [json.loads(line.rstrip(","))["side"] for line in lines[1:-1]] == [48, 96]
    place = again.found[0]["environment"]
    assert "commit" in place
    assert (folder / "turns.md").read_text() == (
        f"| side | seconds |\n| --- | --- |\n| 48 | 1.2 |\n| 96 | 2.0 |\n\n{place}\n"
    )


def test_rows_that_name_no_place_have_none_below_their_table(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(harness.one_a_line([{"side": 8, "seconds": 3.0}]))
    harness.Rows(tmp_path, made_up).write_table()
    assert (tmp_path / "rows.md").read_text().splitlines()[-1] == "| 8 | 3.0 |"


def test_what_is_kept_of_samples() -> None:
    found = harness.summary([5.0, 1.0, 2.0, 4.0, 3.0])
    assert found == {"median": 3.0, "min": 1.0, "max": 5.0, "quartiles": [2.0, 4.0], "runs": 5}
    assert harness.summary([7.0])["quartiles"] == [7.0, 7.0]


def test_a_process_of_its_own_answers(tmp_path: Path) -> None:
    (tmp_path / "child.py").write_text(
        "import json, os, sys\n"
        "print('noise')\n"
        "print(json.dumps([json.loads(sys.argv[-1]), os.environ.get('HOME')]))\n"
    )
    variables = {"PYTHONPATH": str(tmp_path), "HOME": None}
    assert harness.ask("child", ["edsr", 48], variables) == [["edsr", 48], None]


def test_contenders_run_in_turns_until_the_budget_is_spent() -> None:
    order: list[str] = []
    now = iter(range(1000))
    runs = {name: lambda name=name: order.append(name) for name in "ab"}
    samples = interleave(runs, budget=10, clock=lambda: next(now))
    assert order == list("aabb") * (len(order) // 4)
    assert {name: len(seconds) for name, seconds in samples.items()} == {"a": 3, "b": 3}
    samples = interleave(runs, budget=40, clock=lambda: next(now))
    assert len(samples["a"]) > 3


def test_the_first_run_of_a_turn_does_not_count_unless_it_is_long() -> None:
    order: list[str] = []
    now = 0.0

    def run(name: str, seconds: float) -> None:
        nonlocal now
        now += seconds if order[-1:] == [name] else 2 * seconds  # the first finds cold caches
        order.append(name)

    seconds = {"short": 0.1, "middle": 1.0, "long": 6.0}
    runs = {name: lambda name=name: run(name, seconds[name]) for name in seconds}
    samples = interleave(runs, 0, clock=lambda: now)
    assert samples["short"] == pytest.approx([0.1] * 3)
    assert samples["middle"] == pytest.approx([1.0] * 3)
    assert samples["long"] == pytest.approx([12.0] * 3)
    assert order == ["short", "short", "middle", "middle", "long"] * 3
