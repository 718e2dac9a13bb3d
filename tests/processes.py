"""Training in processes of its own, as a user starts it: what several test files share."""

import atexit
import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from sr_jax.data import sources
from sr_jax.data.sources import ImagePair
from sr_jax.imaging import files

# TensorBoard reads its files without TensorFlow where there is a module of this name.
sys.modules.setdefault("tensorboard.compat.notf", types.ModuleType("notf"))

REPOSITORY = Path(__file__).resolve().parents[1]
SECONDS = 300  # that a process may take

# What all runs of one pytest process share: small photographs.
_SHARED = tempfile.TemporaryDirectory(prefix="sr_jax-tests-")
atexit.register(_SHARED.cleanup)

# Variables of a process that takes compiled programs of earlier ones, which conftest.py refuses.
_COMPILED = os.environ.get("SR_JAX_TESTS_COMPILED", f"{_SHARED.name}/compiled")
CACHED = {
    "JAX_ENABLE_COMPILATION_CACHE": "1",
    "JAX_COMPILATION_CACHE_DIR": _COMPILED,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}

# Networks so small that a step takes milliseconds.
NETWORKS = {
    "edsr": (
        "--config=configs/edsr.py:x2,baseline",
        "--config.model.n_resblocks=2",
        "--config.model.n_feats=8",
        "--config.data.lr_patch_size=12",
        "--config.optimizer.learning_rate=3e-3",
    ),
    "edsr_baseline": ("--config=configs/edsr.py:x2,baseline",),
    "mdsr": (
        "--config=configs/mdsr.py:baseline",
        "--config.model.n_resblocks=1",
        "--config.model.n_feats=4",
        "--config.data.lr_patch_size=8",
        "--config.optimizer.learning_rate=1e-3",
    ),
    "vdsr": (
        "--config=configs/vdsr.py:",
        "--config.model.depth=3",
        "--config.model.n_feats=4",
        "--config.data.lr_patch_size=12",
    ),
    "srgan": (
        "--config=configs/srgan.py:mse",
        "--config.init_from=none",
        "--config.model.n_resblocks=1",
        "--config.model.n_feats=4",
        "--config.adversarial.n_feats=2",
        "--config.data.lr_patch_size=8",
        "--config.optimizer.learning_rate=1e-3",
    ),
}
NETWORKS["photo"] = (*NETWORKS["edsr"], "--config.data.degradation=photo")
# Patches are cut on the device, which spares every process the import of TensorFlow.
COMMON = (
    "--config.data.batch_size=8",
    "--config.data.placement=device",
    "--config.train.log_every=1",
)


@functools.cache
def photos() -> Path:
    """A folder of small photographs, 5 for training and 3 for validation."""
    folder = Path(_SHARED.name) / "photos"
    for split, count in (("train", 5), ("validation", 3)):
        write_photos(folder / split, [96] * count, sources.load("photos", split))
    return folder


def write_photos(folder: Path, sides: Sequence[int], originals: Sequence[ImagePair]) -> None:
    """Writes square crops of photographs as 00.png, 01.png ..."""
    folder.mkdir(parents=True)
    for index, side in enumerate(sides):
        crop = originals[index % len(originals)].hr()[100 : 100 + side, 150 : 150 + side]
        files.write_image(folder / f"{index:02d}.png", crop)


class Run:
    """A process that trains, with its output in a file beside the workdir."""

    def __init__(
        self,
        workdir: Path,
        *arguments: str,
        network: str = "edsr",
        devices: int = 1,
        cached: bool = True,
        log: Path | None = None,
        **environment: str,
    ) -> None:
        """Starts it.

        Args:
            workdir: of the training.
            *arguments: flags behind those of NETWORKS and COMMON.
            network: a key of NETWORKS.
            devices: how many the CPU pretends to be.
            cached: whether compiled programs of earlier processes are taken.
            log: takes the output; by default a file beside the workdir.
            **environment: variables.
        """
        environment = {
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            **environment,
        }
        if cached:
            environment |= CACHED
        self.workdir = workdir
        self._log = log or workdir.with_name(f"{workdir.name}.log")
        data = ["--config.data.source=folder", f"--config.data.path={photos()}"]
        command = [sys.executable, "-m", "sr_jax.main", f"--workdir={workdir}"]
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *NETWORKS[network], *COMMON, *data, *arguments],
                cwd=REPOSITORY,
                env=os.environ | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace")

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Returns once the condition holds; the process must be running until then."""
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, f"ended too early:\n{self.output}"
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"waited in vain:\n{self.output}")
            time.sleep(0.002)

    def finish(self, code: int = 0) -> str:
        """Waits for its end, which must have this exit code. Returns its output."""
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"took too long:\n{self.output}") from None
        assert self.process.returncode == code, self.output
        return self.output

    def error(self) -> str:
        """Waits for its end, which must be an error told in one line. Returns that line."""
        output = self.finish(1)
        assert "Traceback" not in output, output
        last = output.strip().splitlines()[-1]
        assert last.startswith("error: "), output
        assert output.count("error: ") == 1, output
        return last

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def train(workdir: Path, *arguments: str, layout: str = "1x1", **options: str) -> str:
    """Trains to the end, and returns the output of process 0. See `start`."""
    with start(workdir, *arguments, layout=layout, **options) as runs:
        return next(run.finish() for run in runs)


@contextlib.contextmanager
def start(
    workdir: Path, *arguments: str, layout: str = "1x1", **options: str
) -> Iterator[list[Run]]:
    """Starts the processes of a layout, and ends those that still run when the block is left.

    Args:
        workdir: of the training.
        *arguments: flags.
        layout: PROCESSESxDEVICES, devices of each.
        **options: see `Run`.
    """
    processes, devices = map(int, layout.split("x"))
    together = [f"--coordinator=localhost:{free_port()}", f"--num_processes={processes}"]
    runs = [
        Run(
            workdir,
            *arguments,
            *([*together, f"--process_id={index}"] if processes > 1 else []),
            devices=devices,
            log=workdir.with_name(f"{workdir.name}-{index}.log"),
            **options,
        )
        for index in range(processes)
    ]
    try:
        yield runs
    finally:
        for run in runs:
            if run.process.poll() is None:
                run.kill()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def read_events(workdir: Path) -> EventAccumulator:
    """TensorBoard's view of a workdir, nothing left out."""
    events = EventAccumulator(str(workdir), size_guidance={"tensors": 0})
    events.Reload()
    return events


def scalars(workdir: Path, name: str) -> list[float]:
    """The values of one scalar, in order of steps.

    A killed run repeats the steps since its last checkpoint: they must have the same values again.
    """
    values: dict[int, float] = {}
    for event in read_events(workdir).Tensors(name):
        value = float(make_ndarray(event.tensor_proto))
        assert values.setdefault(event.step, value) == value or name.startswith("speed/")
    return [values[step] for step in sorted(values)]


def parameters(workdir: Path) -> dict[str, np.ndarray]:
    """The tensors of a finished run."""
    return safetensors.numpy.load_file(workdir / "weights.safetensors")


def assert_same_parameters(workdir: Path, other: Path) -> None:
    """Bit for bit."""
    actual, expected = parameters(workdir), parameters(other)
    assert actual.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(actual[name], expected[name], err_msg=name)


def steps(workdir: Path) -> list[int]:
    """Of the whole checkpoints, sorted."""
    folder = workdir / "checkpoints"
    return sorted(int(path.name) for path in folder.glob("[0-9]*") if path.name.isdecimal())
