"""Interrupted training goes on as if nothing had happened: real processes, killed and signalled."""

import random
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from processes import Run, assert_same_parameters, scalars, steps, train

from configs import edsr
from sr_jax.recipe import read_schedule

STEPS = 120
DECAYS = tuple(range(5, STEPS, 15))
EDSR = (
    f"--config.train.steps={STEPS}",
    "--config.train.checkpoint_every=90",
    f"--config.optimizer.decay_at={DECAYS}",
    "--config.optimizer.decay_factor=0.9",
)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "uninterrupted"
    train(workdir, *EDSR)
    return workdir


def assert_learning_rates(workdir: Path) -> None:
    """Those of the recipe; float32, which may be rounded otherwise where XLA compiles the power."""
    config = edsr.get_config("x2,baseline,photos").optimizer
    with config.unlocked():
        config.update(learning_rate=3e-3, decay_at=DECAYS, decay_factor=0.9)
    expected = [float(read_schedule(config)(step)) for step in range(STEPS)]
    np.testing.assert_allclose(scalars(workdir, "train/learning_rate"), expected, rtol=2e-7)


def half_written(workdir: Path) -> bool:
    return any((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))


def kill_often(
    workdir: Path, *arguments: str, network: str, kills: int, from_start: int, seed: int
) -> int:
    """Trains in lives that a `kill -9` ends.

    Args:
        workdir: of the training.
        *arguments: flags; checkpoints must be frequent and steps many.
        network: a key of `processes.NETWORKS`.
        kills: how many.
        from_start: how many of them come up to 8 s after the start of the process; the others
            after up to 4 new checkpoints and 0.2 s.
        seed: of the random moments.

    Returns:
        How many of the kills left a half-written checkpoint.
    """
    rng = random.Random(seed)
    moments = [True] * from_start + [False] * (kills - from_start)
    rng.shuffle(moments)
    torn = 0
    for early in moments:
        life = Run(workdir, *arguments, network=network)
        before = steps(workdir)[-1:]
        if early:
            deadline = time.monotonic() + rng.uniform(0, 8)
            life.wait_for(lambda deadline=deadline: time.monotonic() > deadline)
        else:
            wanted = (before or [0])[0] + 1 + 2 * rng.randint(0, 3)
            life.wait_for(lambda wanted=wanted: (steps(workdir) or [0])[-1] >= wanted)
            time.sleep(rng.uniform(0, 0.2))
        assert life.process.poll() is None, f"ended before it was killed:\n{life.output}"
        life.kill()
        assert not (workdir / "weights.safetensors").exists()
        assert steps(workdir)[-1:] >= before  # no checkpoint was lost
        torn += half_written(workdir)
    return torn


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)],
)
def test_killed_and_signalled_equals_uninterrupted(number, code, uninterrupted, tmp_path):
    """Three lives: killed, stopped by a signal at the step that it had reached, and the last one.

    Bit-equal, learning rates included, without the compiled programs of other processes in the
    end: batches depend on seed and step alone, and a checkpoint holds everything.
    """
    workdir = tmp_path / "run"
    frequent = "--config.train.checkpoint_every=2"
    kill_often(workdir, *EDSR, frequent, network="edsr", kills=1, from_start=0, seed=1)
    saved = steps(workdir)[-1]

    seen = len(scalars(workdir, "train/loss")) + 3
    stopped = Run(workdir, *EDSR)
    stopped.wait_for(lambda: f" {seen}/{STEPS} loss" in stopped.output)
    stopped.process.send_signal(number)
    output = stopped.finish(code)
    assert f"resuming at step {saved} of" in output
    assert "Traceback" not in output
    told = re.search(rf"signal {int(number)}: saved step (\d+); the same command goes on", output)
    assert told, output
    reached = int(told[1])
    assert seen <= reached < STEPS
    assert steps(workdir)[-1] == reached
    assert len(scalars(workdir, "train/loss")) == reached  # nothing after the signal
    assert not (workdir / "weights.safetensors").exists()

    assert f"resuming at step {reached} of" in Run(workdir, *EDSR, cached=False).finish()
    assert not half_written(workdir)
    assert not (workdir / "checkpoints-unreadable").exists()
    assert_same_parameters(workdir, uninterrupted)
    assert_learning_rates(workdir)
    for name in ("train/loss", "train/learning_rate"):
        assert scalars(workdir, name) == scalars(uninterrupted, name)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["edsr", "mdsr", "srgan"])
def test_killed_20_times_equals_uninterrupted(network, tmp_path, record_property):
    """Bit-equal, for one network, for branches that take turns, and for two networks at once."""
    arguments = ("--config.train.steps=1000", "--config.train.log_every=50")
    rarely = (*arguments, "--config.train.checkpoint_every=100")
    often = (*arguments, "--config.train.checkpoint_every=2")
    train(tmp_path / "whole", *rarely, network=network)
    workdir = tmp_path / "run"
    torn = kill_often(workdir, *often, network=network, kills=20, from_start=6, seed=7)
    reached = steps(workdir)[-1]
    output = Run(workdir, *rarely, network=network).finish()
    assert f"resuming at step {reached} of" in output
    assert not half_written(workdir)
    assert not (workdir / "checkpoints-unreadable").exists()
    record_property("half-written checkpoints", torn)
    print(f"{network}: {torn} of 20 kills left a half-written checkpoint")
    assert torn > 0
    assert_same_parameters(workdir, tmp_path / "whole")
