"""Training end to end, in processes of its own, as a user starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from sr_jax import weights

REPOSITORY = Path(__file__).resolve().parents[1]
TINY = (
    "--config=configs/edsr.py:x2,baseline,photos",
    "--config.model.n_resblocks=2",
    "--config.model.n_feats=8",
    "--config.data.lr_patch_size=12",
    "--config.data.batch_size=8",
    "--config.optimizer.learning_rate=3e-3",
    "--config.train.log_every=1",
    "--config.train.eval_images=1",
)


def start(workdir: Path, *arguments: str, devices: int = 1) -> subprocess.Popen:
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    command = [sys.executable, "-m", "sr_jax.main", f"--workdir={workdir}", *TINY, *arguments]
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def read_events(workdir: Path) -> EventAccumulator:
    events = EventAccumulator(str(workdir), size_guidance={"tensors": 0})  # 0: keep all
    events.Reload()
    return events


def scalars(workdir: Path, name: str) -> list[float]:
    return [float(make_ndarray(event.tensor_proto)) for event in read_events(workdir).Tensors(name)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "uninterrupted"
    finish(start(workdir, "--config.train.steps=20", "--config.train.checkpoint_every=5"))
    return workdir


def test_workdir_holds_what_it_should(uninterrupted):
    model, _ = weights.load(uninterrupted / "weights.safetensors")
    assert (model.n_resblocks, model.n_feats, model.scale) == (2, 8, 2)
    assert json.loads((uninterrupted / "config.json").read_text())["train"]["steps"] == 20
    assert sorted(os.listdir(uninterrupted / "checkpoints")) == ["15", "20"]
    losses = scalars(uninterrupted, "train/loss")
    assert len(losses) == 20
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    for name in ("train/learning_rate", "train/gradient_norm", "train/psnr"):
        assert len(scalars(uninterrupted, name)) == 20
    assert len(scalars(uninterrupted, "speed/images_per_second")) == 20
    for name in ("validation/psnr_x2", "validation/bicubic_psnr_x2"):
        assert len(scalars(uninterrupted, name)) == 1
    assert "x2/astronaut" in read_events(uninterrupted).Tags()["tensors"]


def test_killed_and_resumed_equals_uninterrupted(uninterrupted, tmp_path):
    """Bit-equal: batches depend on seed and step alone, and the checkpoint holds everything."""
    arguments = ("--config.train.steps=20", "--config.train.checkpoint_every=5")
    process = start(tmp_path, *arguments)
    deadline = time.monotonic() + 300
    while not (tmp_path / "checkpoints" / "5").exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "weights.safetensors").exists()
    assert "resuming at step" in finish(start(tmp_path, *arguments))
    expected = safetensors.numpy.load_file(uninterrupted / "weights.safetensors")
    resumed = safetensors.numpy.load_file(tmp_path / "weights.safetensors")
    assert expected.keys() == resumed.keys()
    for name in expected:
        np.testing.assert_array_equal(resumed[name], expected[name], err_msg=name)


def test_eight_devices_give_the_losses_of_one(uninterrupted, tmp_path):
    """float32: the sums over the batch have another order, 1e-5 relative over 20 steps."""
    finish(start(tmp_path, "--config.train.steps=20", devices=8))
    np.testing.assert_allclose(
        scalars(tmp_path, "train/loss"), scalars(uninterrupted, "train/loss"), rtol=1e-5
    )


def test_workdir_of_another_network_is_refused(uninterrupted):
    process = start(uninterrupted, "--config.model.n_feats=4")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    error = output.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert "holds the training of another network (model.n_feats is 8 there and 4 here)" in error


def test_diverging_run_stops_and_keeps_its_checkpoint(tmp_path):
    process = start(tmp_path, "--config.train.steps=50", "--config.optimizer.learning_rate=1e30")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    error = output.strip().splitlines()[-1]
    assert error.startswith("error: step ")
    assert "last good checkpoint" in error
    assert not (tmp_path / "weights.safetensors").exists()
    assert not any((tmp_path / "checkpoints").iterdir())
