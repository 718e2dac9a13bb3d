"""`sr-jax upscale` by Ray, and workers that end: every image once all the same."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer
from albums import album as album
from albums import failures, pixels
from helpers import random_variables

from sr_jax import weights
from sr_jax.__main__ import app
from sr_jax.commands.upscale import upscale
from sr_jax.imaging.files import read_image, write_image
from sr_jax.inference.settings import Settings
from sr_jax.scale import places, upscaling
from sr_jax.scale.blocks import Block, Watch
from sr_jax.scale.records import Item, Records

# ------------------------------------------------------------------ workers that end


def worker(model: str, output: Path, watch: Watch | None = None) -> upscaling.Upscaling:
    job = upscaling.Job(records(output), "tiny", "tiny", 2, Settings(), {})
    return upscaling.Upscaling(job, {"tiny": weights.load(model)}, watch)


def records(output: Path) -> Records:
    return Records(str(output), {})


def test_a_block_of_a_worker_that_ended_is_done_without_what_it_did(model, album, tmp_path):
    names, out = ("a.png", "trip/c.png", "trip/a.tif"), tmp_path / "out"
    items = [Item(str(album / name), f"{Path(name).stem}-{n}.png") for n, name in enumerate(names)]
    block = Block("block", items)
    records(out).begin(block)  # by the worker that ended, having written one
    write_image(out / "a-0.png", np.zeros((10, 12, 3), np.uint8))
    outcome = worker(model, out)(block)
    assert (outcome.written, outcome.failures) == (3, [])
    assert not read_image(out / "a-0.png").any()
    found = [item._replace(before=places.stamp(f"{out}/{item.target}")) for item in items]
    assert records(out).sort(found).finished == found


def test_an_image_at_which_workers_end_is_left_out(model, album, tmp_path):
    """The second worker takes the images one by one, and says which one it is at."""
    items = [Item(str(album / name), f"{name}.png") for name in ("a.png", "trip/c.png")]
    block, watch = Block("block", items), Watch()
    assert watch.begin("block") == (1, [])  # a first worker, which ends
    assert watch.begin("block") == (2, [])  # a second one, which ends too
    watch.at("block", "a.png.png")
    outcome = worker(model, tmp_path / "out", watch)(block)
    ((image, reason),) = outcome.failures
    assert image == str(album / "a.png")
    assert "a worker ended while it was done; the same command tries it again" in reason
    assert (outcome.written, outcome.tries) == (1, 3)
    assert worker(model, tmp_path / "out", watch)(Block("another", items)).written == 2


# ------------------------------------------------------------------ Ray


# A network whose worker ends: where it is first given an image 9 pixels wide, and at every one 11
# pixels wide.
DEADLY = """
import os, pathlib, signal
import flax.linen as nn
from sr_jax.models.layers import Conv
from sr_jax.models.network import Network
from sr_jax.ops.shuffle import pixel_shuffle

class Deadly(Network):
    scale: int = 2
    n_colors: int = 3

    @nn.compact
    def __call__(self, images, *, scale=None, train=False):
        ended = pathlib.Path(__file__).with_name("ended")
        if images.shape[2] == 11 or (images.shape[2] == 9 and not ended.exists()):
            ended.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return pixel_shuffle(Conv(12, name="conv")(images), 2)
"""


@pytest.mark.parametrize(
    ("words", "ray", "inputs"),
    [
        ("in --ray", "local", ["in"]),
        ("--ray in", "local", ["in"]),
        ("--ray --workers 2 in", "local", ["in"]),
        ("--ray auto in", "auto", ["in"]),
        ("--ray head-0.ray:6379 in", "head-0.ray:6379", ["in"]),
        ("--ray=10.0.0.1:6379 in", "10.0.0.1:6379", ["in"]),
        ("--ray ray://head:10001 in", "ray://head:10001", ["in"]),
        ("in -- --ray", None, ["in", "--ray"]),
    ],
)
def test_ray_may_stand_without_an_address(words, ray, inputs):
    command = typer.main.get_command(app).commands["upscale"]
    given = command.make_context("upscale", words.split()).params
    assert given["ray"] == ray
    assert [str(path) for path in given["inputs"]] == inputs


@pytest.mark.slow
def test_workers_of_ray_that_end_cost_nothing_but_the_image_that_ends_them(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="needs Ray, of the extra scale")
    (tmp_path / "deadly.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(tmp_path)
    from deadly import Deadly

    model = tmp_path / "deadly.safetensors"
    weights.save(model, Deadly(), random_variables(Deadly(), 0.2))
    rng = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(12)]
    for name, width in zip(names, [8, 8, 9, 8, 11, 8, 8, 8, 11, 9, 8, 8], strict=True):
        write_image(tmp_path / "in" / name, rng.integers(0, 256, (8, width, 3), np.uint8))
    (tmp_path / "in" / "bad.png").write_bytes(b"no image")

    command = [sys.executable, "-m", "sr_jax", "upscale", "in", "--output", "out", "--ray"]
    command += ["--workers", "2", "--model", model, "--allow", "deadly:Deadly"]
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])])
    ran = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert ran.returncode == 1, ran.stderr
    assert "Ray: 2 workers on 1 machine" in ran.stdout
    assert "a worker ended, and another one went on with its images" in ran.stderr
    reasons = dict(failures(tmp_path / "out" / "failures.csv")[1:])
    assert {Path(image).name for image in reasons} == {"4.png", "8.png", "bad.png"}
    assert "a worker ended while it was done" in reasons[str(tmp_path / "in" / "4.png")]

    for name in ("4.png", "8.png", "bad.png"):
        (tmp_path / "in" / name).unlink()
    assert (tmp_path / "ended").exists()
    options = {"model": str(model), "allow": ["deadly:Deadly"]}
    upscale([tmp_path / "in"], output=tmp_path / "one", **options)
    actual, expected = pixels(tmp_path / "out"), pixels(tmp_path / "one")
    assert actual.keys() == expected.keys()
    for name, image in expected.items():
        np.testing.assert_array_equal(actual[name], image)


@pytest.mark.slow
def test_workers_of_ray_end_in_order(model, tmp_path):
    """SIGTERM leaves nothing half-written, and the same command goes on."""
    pytest.importorskip("ray", reason="needs Ray, of the extra scale")
    rng = np.random.default_rng(0)
    for number in range(80):
        image = rng.integers(0, 256, (120, 8 + number % 2, 3), np.uint8)
        write_image(tmp_path / "in" / f"{number}.png", image)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "sr_jax", "upscale", tmp_path / "in", "--output", out, "--ray"]
    command += ["--workers", "2", "--model", model]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(out.glob("*.png")):
            time.sleep(0.01)
        process.terminate()
        errors = process.stderr.read()
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert "SIGTERM" not in errors
    there = pixels(out)
    assert 0 < len(there) < 80
    assert not list(out.glob(".*.tmp"))
    ran = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert f"going on (images done before: {len(there)})" in ran.stdout
    assert len(pixels(out)) == 80
