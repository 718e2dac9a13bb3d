"""A network outside the package: what CONTRIBUTING.md tells works as it stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import CACHED, REPOSITORY, photos

NAME = "espcn:ESPCN"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (folder / "espcn.py").write_text(code)
    return folder


def run(folder: Path, *command: str, code: int = 0) -> str:
    path = f"{folder}{os.pathsep}{REPOSITORY}"
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=os.environ | CACHED | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(folder):
    run(
        folder,
        "sr_jax.main",
        "--config=espcn.py:smoke",
        "--workdir=run",
        "--config.data.source=folder",
        f"--config.data.path={photos()}",
        "--config.train.steps=6",
        "--config.train.eval_every=3",
    )
    return folder / "run"


def test_it_upscales_where_it_is_allowed(folder, trained):
    image = next((photos() / "validation").glob("*.png"))
    upscale = ("sr_jax", "upscale", str(image), "--model", "run", "--output", "large")
    refused = run(folder, *upscale, code=1)
    assert f"run/weights.safetensors: {NAME} is a network outside sr_jax" in refused
    assert f"--allow {NAME}" in refused
    assert not (folder / "large").exists()
    run(folder, *upscale, "--allow", NAME)
    assert (folder / "large" / image.name).exists()


def test_it_is_scored(folder, trained):
    evaluate = ("sr_jax", "evaluate", "--model", "run", "--output", "scores.json")
    run(folder, *evaluate, "--allow", NAME, str(photos() / "validation"))
    rows = json.loads((folder / "scores.json").read_text())
    assert [row["method"] for row in rows] == ["bicubic", "espcn"]
    assert all(row["images"] == 3 for row in rows)


def test_what_is_no_network_is_refused(folder, trained):
    from sr_jax.models import create_model

    with pytest.raises(ValueError, match=r"json:dumps is no subclass"):
        create_model("json:dumps", allow=("json:dumps",))
    with pytest.raises(ValueError, match=r"nowhere:Net cannot be imported"):
        create_model("nowhere:Net", allow=("nowhere:Net",))
