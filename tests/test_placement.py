"""One training wherever its patches are cut: by tf.data on the host, or on the devices."""

import ast
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec
from processes import (
    CACHED,
    COMMON,
    NETWORKS,
    REPOSITORY,
    SECONDS,
    Run,
    assert_same_parameters,
    photos,
    scalars,
    train,
)

from sr_jax.data import photo
from sr_jax.ops.devices import BATCH_AXIS
from sr_jax.recipe import read_config
from sr_jax.train import train as train_here

# Module `sitecustomize` of a process where these packages are not found, as if not installed, or
# are found and end the process when they are imported.
WITHOUT = """
import importlib.abc, importlib.machinery, os, sys

class Refuse(importlib.abc.Loader):
    def exec_module(self, module):
        print(f"{module.__name__} was imported", flush=True)
        os._exit(3)

class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] not in ("tensorflow", "torch", "imagecodecs"):
            return super().find_spec(name, path, target)
        found = importlib.machinery.ModuleSpec(name, Refuse())
        return found if os.environ["INSTALLED"] == "yes" else None

sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Finder
"""


def config_of(network: str, **fields: Any) -> Any:
    """The config of the flags that `processes.train` passes."""
    recipe, *flags = NETWORKS[network]
    name, _, arguments = Path(recipe).name.partition(".py:")
    config = importlib.import_module(f"configs.{name}").get_config(arguments)
    values = {}
    for flag in (*flags, *COMMON):
        field, _, text = flag.removeprefix("--config.").partition("=")
        values[field] = text if text.isalpha() else ast.literal_eval(text)
    config.update_from_flattened_dict(
        values | {"data.source": "folder", "data.path": str(photos()), "train.eval_images": 1}
    )
    config.update_from_flattened_dict(fields)
    return config


def compare_placements(network: str, folder: Path) -> None:
    """20 steps with each placement, and the second half of each with the other one."""

    def run(workdir: Path, placement: str) -> None:
        fields = {"train.steps": 20, "train.checkpoint_every": 10, "data.placement": placement}
        train_here(read_config(config_of(network, **fields)), workdir)

    if network == "photo":
        compare_devices()
    run(folder / "host", "host")
    run(folder / "device", "device")
    for first, second in (("host", "device"), ("device", "host")):
        resumed = folder / f"{first}-{second}"
        checkpoint = "checkpoints/10"
        shutil.copytree(folder / first / checkpoint, resumed / checkpoint)
        run(resumed, second)
    for name in ("device", "host-device", "device-host"):
        assert_same_parameters(folder / name, folder / "host")
        losses = scalars(folder / name, "train/loss")
        assert losses == scalars(folder / "host", "train/loss")[-len(losses) :]
        assert len(losses) == (20 if name == "device" else 10)
    print("equal")


class State(NamedTuple):
    """What of a training state counts here."""

    step: jax.Array


def compare_devices() -> None:
    """Eight rows suffer the same on all devices together as on one."""
    lr = np.random.default_rng(0).random((8, 12, 12, 3), np.float32)

    def degrade(devices: list[jax.Device]) -> np.ndarray:
        mesh = Mesh(devices, (BATCH_AXIS,))
        step = photo.degrade_in_step(lambda state, batch, loss: batch["lr"], seed=5)
        specs = PartitionSpec(), PartitionSpec(BATCH_AXIS), PartitionSpec()
        if len(devices) > 1:
            step = jax.shard_map(step, mesh=mesh, in_specs=specs, out_specs=specs[1])
        return np.asarray(jax.jit(step)(State(jnp.int32(7)), {"lr": lr}, ()))

    alone = degrade(jax.devices()[:1])
    assert len({row.tobytes() for row in alone}) == 8
    np.testing.assert_array_equal(degrade(jax.devices()), alone)


@pytest.mark.parametrize(
    ("network", "devices"),
    [
        ("photo", 4),
        pytest.param("photo", 1, marks=pytest.mark.slow),
        pytest.param("edsr", 1, marks=pytest.mark.slow),
        pytest.param("edsr", 4, marks=pytest.mark.slow),
        *(
            pytest.param(network, devices, marks=pytest.mark.slow)
            for network in ("mdsr", "srgan", "vdsr")
            for devices in (1, 4)
        ),
    ],
)
def test_training_is_the_same_and_resumes_across_placements(network, devices, tmp_path):
    """Weights and losses, bit for bit."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    paths = f"{REPOSITORY}{os.pathsep}{Path(__file__).parent}"
    done = subprocess.run(
        [sys.executable, __file__, network, tmp_path],
        cwd=REPOSITORY,
        env=os.environ | CACHED | {"XLA_FLAGS": flags, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.stdout.endswith("equal\n"), done.stderr


@pytest.mark.slow
def test_processes_share_batches_that_devices_cut(tmp_path):
    """Two processes of two devices, bit for bit as with batches from the host."""
    for placement in ("host", "device"):
        arguments = ("--config.train.steps=20", f"--config.data.placement={placement}")
        train(tmp_path / placement, *arguments, layout="2x2")
    assert_same_parameters(tmp_path / "device", tmp_path / "host")


@pytest.mark.parametrize("installed", ["no", pytest.param("yes", marks=pytest.mark.slow)])
def test_tensorflow_torch_and_imagecodecs_are_not_imported(installed, tmp_path):
    """Whether they are installed or not. Batches from the host need TensorFlow."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT)
    paths = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {"PYTHONPATH": os.pathsep.join(paths), "INSTALLED": installed}
    steps = "--config.train.steps=2"
    train(tmp_path / "run", steps, "--config.data.placement=device", **environment)
    assert len(scalars(tmp_path / "run", "train/loss")) == 2
    on_host = Run(tmp_path / "host", steps, "--config.data.placement=host", **environment)
    if installed == "yes":
        assert "tensorflow was imported" in on_host.finish(3)
    else:
        assert "install it, or set data.placement to device" in on_host.error()


if __name__ == "__main__":
    compare_placements(sys.argv[1], Path(sys.argv[2]))
