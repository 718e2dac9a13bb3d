"""The programs in examples/ run as their first lines say."""

import runpy
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import sr_jax

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def run(monkeypatch):
    """`run("folder.py", ...)`: the program with these arguments."""

    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        return runpy.run_path(str(REPOSITORY / "examples" / name), run_name="__main__")

    return call


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two images of 16 x 12 pixels."""
    folder = tmp_path_factory.mktemp("photos")
    for name in "ab":
        image = np.random.default_rng(ord(name)).integers(256, size=(12, 16, 3), dtype=np.uint8)
        Image.fromarray(image).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    model = sr_jax.create_model("edsr_baseline", scale=2, n_resblocks=1, n_feats=4)
    variables = model.init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
    path = tmp_path_factory.mktemp("network") / "weights.safetensors"
    sr_jax.save(path, model, variables)
    return path


def size(path):
    with Image.open(path) as image:
        return image.size


def test_upscale_image(run, photos, weights, tmp_path):
    run("upscale_image.py", photos / "a.png", weights, tmp_path / "large.png")
    assert size(tmp_path / "large.png") == (32, 24)


def test_folder(run, photos, weights, tmp_path):
    run("folder.py", photos, weights, tmp_path / "large")
    assert [size(tmp_path / "large" / f"{name}.png") for name in "ab"] == [(32, 24)] * 2


def test_own_loop(run, photos, tmp_path):
    path = tmp_path / "weights.safetensors"
    trained = run("own_loop.py", path, 3)
    start = trained["model"].init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))["params"]
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: (a != b).any(), start, trained["params"])))
    assert sr_jax.Upscaler(path)(np.zeros((12, 16, 3), np.uint8)).shape == (24, 32, 3)


def test_own_network(run, photos, tmp_path):
    run("own_network.py", photos / "a.png", tmp_path / "large.png")
    assert size(tmp_path / "large.png") == (32, 24)


def test_every_example_is_run():
    for path in (REPOSITORY / "examples").glob("*.py"):
        assert f"test_{path.stem}" in globals(), f"{path.name} has no test"
