"""The tables in the repository are what the rows beside them give, to the digit."""

import importlib
import json
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("export.measure", "rows"),
        ("first_minutes.diary", "rows"),
        ("first_minutes.mistakes", "mistakes"),
        ("memory.attention", "attention"),
        ("memory.networks", "networks"),
        ("memory.training", "training"),
        ("published.score", "rows"),
        ("quality.part", "csnln_small_x2"),
        ("quality.part", "edsr_baseline_x2"),
        ("quality.part", "edsr_baseline_x2_again"),
        ("quality.part", "edsr_baseline_x3"),
        ("quality.part", "edsr_baseline_x4"),
        ("quality.part", "edsr_photo_x2"),
        ("quality.part", "edsr_photo_x4"),
        ("quality.part", "edsr_small_x2"),
        ("quality.part", "edsr_small_x3"),
        ("quality.part", "edsr_small_x4"),
        ("quality.part", "mdsr_small"),
        ("quality.part", "rcan_small_x2"),
        ("quality.part", "san_small_x2"),
        ("quality.part", "srcnn_915_x2"),
        ("quality.part", "srcnn_915_x3"),
        ("quality.part", "srcnn_915_x4"),
        ("quality.part", "srcnn_955_x2"),
        ("quality.part", "srcnn_955_x3"),
        ("quality.part", "srcnn_955_x4"),
        ("quality.part", "srgan_small_x4"),
        ("quality.part", "srresnet_small_x4"),
        ("quality.part", "vdsr"),
        ("quality.part", "vdsr_again"),
        ("recipes.full_size", "full_size"),
        ("recipes.smokes", "smokes"),
        ("scale_out.measure", "scale_out"),
        ("scaling.measure", "rows"),
        ("sharded_image.measure", "rows"),
        ("start_up.measure", "rows"),
        ("upscaling.folder", "folder"),
        ("upscaling.large", "large"),
        ("upscaling.tiles", "tiles"),
        ("vdsr_clipping.measure", "rows"),
    ],
)
def test_tables_are_those_of_the_rows(module: str, name: str) -> None:
    if module == "memory.attention":
        pytest.importorskip("torch")
    script = importlib.import_module(f"experiments.{module}")
    results = EXPERIMENTS / module.partition(".")[0] / "results"
    rows = json.loads((results / f"{name}.json").read_text())
    table, places = script.table(rows), {row.get("environment", "") for row in rows}
    page = (results / f"{name}.md").read_text()
    assert page.startswith(f"{table}\n")
    assert set(page.removeprefix(table).split("\n")) == places | {""}


def test_the_page_of_throughput_is_that_of_its_rows() -> None:
    from experiments.throughput import report

    path = EXPERIMENTS / "throughput" / "results" / "rows.json"
    results = json.loads(path.read_text())
    page = report.markdown(results["conditions"], report.in_order(results["rows"]))
    assert page == path.with_suffix(".md").read_text()
