"""What is called lost or done twice, and the arithmetic of the plan."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.scale_out.measure import check, results
from experiments.scale_out.plan import plan
from sr_jax.imaging.files import write_image


def write(folder: Path, *names: str, value: int = 0) -> None:
    for name in names:
        write_image(folder / name, np.full((2, 3), value, np.uint8))


def test_what_is_lost_changed_or_done_twice_is_counted(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    write(one, "a.png", "b.png", "c.png")
    write(other, "a.png", "b.png")
    there = results(other)
    assert check(other, there, one)["missing"] == 1
    write(other, "a.png", value=1)
    write(other, "c.png", "d.png")
    for number, done in enumerate((["a.png", "b.png"], ["b.png", "c.png"])):
        record = other / ".sr_jax-0" / f"{number}.json"
        record.parent.mkdir(exist_ok=True)
        record.write_text(json.dumps({"done": done}))
    (other / "d.png").unlink()
    assert check(other, there, one) == {
        "missing": 0,
        "others": 0,
        "different": 1,
        "there when ended": 2,
        "written again": 1,
        "noted twice": 1,
    }


def test_the_plan_follows_from_its_numbers():
    ray = {"images/s from first to last": 3.0, "seconds to the first": 36.0}
    ray |= {"bytes in": 25.0, "bytes out": 450.0, "bytes of records": 50}
    files = {"pixels": 100.0, "core seconds to read": 0.01, "core seconds to write": 0.04}
    rows = {
        "Ray, 2 workers": ray,
        "files": files,
        "one process": {"images/s from first to last": 2.0},
        "names": {"bytes a name": 1000.0, "seconds": 2.0, "images": 100_000},
    }
    given = {"rate": 10.0, "pixels": 200.0, "images": 1e6, "gpus": 10}
    given |= {"job": 1e5, "gpu_hour": 2.0, "gigabyte_month": 1.0, "thousand_puts": 1.0}
    given |= {"thousand_gets": 0.1, "hours_between_ends": 10.0, "failing": 1e-3}
    planned = plan(rows, **given)
    found = {what: much for what, much, _ in planned}
    details = {what: by for what, _, by in planned}
    assert found["jobs"].startswith("10 of 100,000 images")
    assert found["memory of the command"] == "0.1 GB"
    assert found["time"] == f"{(1e6 / 100 + 380) / 3600:.1f} h"
    assert found["CPU cores that a GPU needs for files"] == "1.0"
    # Blocks are of 64 images: two files of records for each, one of which is read again.
    assert "1,031,250 put, 1,015,625 got" in details["requests"]
    assert found["storage"].endswith(", 1 a month")
    assert found["images that fail"] == "1,000"
    assert found["two workers against one process, here"] == "1.50 times"
    assert float(found["GPUs"]) == pytest.approx(2 * 10 * (1e6 / 100 + 380) / 3600, rel=0.02)
