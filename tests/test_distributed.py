"""One training however it is spread: processes x devices, real processes joined by gloo.

Where float64 is compared, it is the final parameters: TensorBoard's scalars are float32.
"""

import functools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from processes import REPOSITORY, SECONDS, free_port, parameters, scalars, start, steps, train

from sr_jax.cluster import from_first
from sr_jax.configuration import get_defaults
from sr_jax.mesh import global_batch, make_mesh
from sr_jax.models import create_model
from sr_jax.ops.devices import BATCH_AXIS
from sr_jax.recipe import read_optimizer, read_schedule
from sr_jax.training.losses import get_loss
from sr_jax.training.state import create_state
from sr_jax.training.steps import compile_step, make_train_step

LAYOUTS = ("1x1", "1x8", "2x4")
DOUBLE = {"JAX_ENABLE_X64": "1"}
VALIDATION = [
    f"validation/{kind}{score}_x2" for kind in ("", "bicubic_") for score in ("psnr", "ssim")
]


def largest_difference(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """Of all tensors, relative to each one's norm."""
    assert actual.keys() == expected.keys()
    return max(
        float(np.linalg.norm(actual[name] - expected[name]) / np.linalg.norm(expected[name]))
        for name in expected
        if np.any(expected[name])  # SRGAN's count of batches is always 0
    )


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "single"
    train(workdir, "--config.train.steps=20")
    return workdir


@pytest.mark.parametrize(
    "layout", ["2x2", *(pytest.param(layout, marks=pytest.mark.slow) for layout in LAYOUTS[1:])]
)
def test_losses_and_scores_of_one_device(layout, single, tmp_path):
    """float32: the sums over the batch have another order, 1e-5 relative over 20 steps.

    Three validation images, shared by two processes: before training the scores are the same but
    for the rounding of TensorBoard's float32, after it they follow the parameters.
    """
    workdir = tmp_path / "run"
    with start(workdir, "--config.train.steps=20", layout=layout) as runs:
        first, *others = [run.finish() for run in runs]
    losses = scalars(workdir, "train/loss")
    assert len(losses) == 20
    np.testing.assert_allclose(losses, scalars(single, "train/loss"), rtol=1e-5)
    for name in VALIDATION:
        actual, expected = scalars(workdir, name), scalars(single, name)
        np.testing.assert_allclose(actual[0], expected[0], rtol=2e-7, err_msg=name)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, err_msg=name)
    # Only process 0 writes: its event file carries its process id.
    assert " loss " in first
    assert "validation x2" in first
    assert not any(" loss " in output or "validation" in output for output in others)
    (events,) = workdir.glob("events.*")
    assert f".{runs[0].process.pid}." in events.name


@pytest.mark.slow
def test_edsr_baseline_has_the_losses_of_one_device(tmp_path):
    """float32, the network of the paper: 1e-5 relative over 20 steps."""
    losses = {}
    for layout in LAYOUTS:
        train(tmp_path / layout, "--config.train.steps=20", layout=layout, network="edsr_baseline")
        losses[layout] = np.array(scalars(tmp_path / layout, "train/loss"))
        error = np.max(np.abs(losses[layout] / losses["1x1"] - 1))
        print(f"{layout}: {error:.1e}")
        assert len(losses[layout]) == 20
        assert error < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mdsr", "srgan"])
def test_parameters_of_one_device_in_double_precision(network, tmp_path):
    """float64, 1e-9 of each tensor's norm after 5 steps; the losses to float32's resolution.

    SRGAN: the statistics of batch normalisation must be those of the global batch. Those of a
    device's own rows would differ by percents.
    """
    arguments = ("--config.train.steps=5", "--config.train.dtype=float64")
    for layout in LAYOUTS:
        workdir = tmp_path / layout
        train(workdir, *arguments, layout=layout, network=network, **DOUBLE)
        found = parameters(workdir)
        assert {array.dtype for array in found.values()} <= {
            np.dtype(np.float64),
            np.dtype(np.int32),
        }
        error = largest_difference(found, parameters(tmp_path / "1x1"))
        print(f"{network} {layout}: {error:.1e}")
        assert error < 1e-9
        np.testing.assert_allclose(
            scalars(workdir, "train/loss"), scalars(tmp_path / "1x1", "train/loss"), rtol=2e-7
        )


@pytest.mark.slow
def test_checkpoint_of_one_layout_resumes_on_the_others(tmp_path):
    """float64, 1e-9 of each tensor's norm after 12 steps."""
    double = "--config.train.dtype=float64"
    train(tmp_path / "whole", double, "--config.train.steps=12", **DOUBLE)
    for layout, stop in (("1x1", 4), ("2x4", 8), ("1x8", 12)):
        output = train(
            tmp_path / "run", double, f"--config.train.steps={stop}", layout=layout, **DOUBLE
        )
        assert (f"resuming at step {stop - 4} of" in output) == (stop > 4)
    error = largest_difference(parameters(tmp_path / "run"), parameters(tmp_path / "whole"))
    print(f"{error:.1e}")
    assert error < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("signalled", [0, 1])
def test_sigterm_to_one_process_stops_both_at_one_step(signalled, tmp_path):
    workdir = tmp_path / "run"
    with start(
        workdir,
        "--config.train.steps=2000",
        "--config.train.checkpoint_every=1000",
        layout="2x4",
    ) as runs:
        runs[0].wait_for(lambda: re.search(r" 5/\d+ loss", runs[0].output))
        runs[signalled].process.send_signal(signal.SIGTERM)
        outputs = [run.finish(143) for run in runs]
    saved = {re.search(r"signal 15: saved step (\d+)", output)[1] for output in outputs}
    (step,) = map(int, saved)
    assert 5 <= step < 2000
    assert steps(workdir) == [step]
    assert not any("Traceback" in output for output in outputs)
    output = train(workdir, f"--config.train.steps={step + 2}")
    assert f"resuming at step {step} of" in output


@pytest.mark.slow
def test_all_processes_have_the_text_of_the_first():
    assert from_first("alone") == "alone"
    code = "import sys; from sr_jax.cluster import from_first, initialize; n = int(sys.argv[2]); "
    code += "initialize(sys.argv[1], 2, n); print(from_first(['hf:é/1', ''][n]))"
    address = f"localhost:{free_port()}"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, address, str(number)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    printed = [process.communicate(timeout=SECONDS)[0] for process in both]
    assert [text.splitlines()[-1] for text in printed] == ["hf:é/1", "hf:é/1"]


def compare_with_pmap() -> None:
    """Three steps of the training loop and of pmap, on the devices of this process."""
    mesh = make_mesh(8)
    assert mesh.size == 4
    model = create_model("edsr", n_resblocks=2, n_feats=8, scale=2)
    config = get_defaults().optimizer
    optimizer, schedule = read_optimizer(config), read_schedule(config)
    loss = get_loss("l1", 255.0)
    create = functools.partial(
        create_state, model, optimizer, mesh, seed=0, ema=True, dtype=jnp.float64
    )
    step = functools.partial(
        make_train_step, model, optimizer, schedule, dtype=jnp.float64, ema_decay=0.9
    )
    sharded = compile_step(step(), mesh, loss)
    mapped = jax.pmap(step(), axis_name=BATCH_AXIS, in_axes=(0, 0, None))

    def check(path: tuple, actual: jax.Array, expected: jax.Array) -> None:
        for copy in np.asarray(actual):  # of every device
            error, norm = np.linalg.norm(copy - np.asarray(expected)), np.linalg.norm(expected)
            assert error <= 1e-12 * norm, (jax.tree_util.keystr(path), error, norm)

    one = create()
    many = jax.tree.map(lambda x: np.stack([x] * mesh.size), jax.device_get(create()))
    rng = np.random.default_rng(0)
    for _ in range(3):
        batch = {"lr": rng.random((8, 10, 10, 3)), "hr": rng.random((8, 20, 20, 3))}
        split = {name: x.reshape(mesh.size, -1, *x.shape[1:]) for name, x in batch.items()}
        one, metrics = sharded(one, global_batch(mesh, batch))
        many, metrics_of_all = mapped(many, split, loss)
        jax.tree_util.tree_map_with_path(check, (many, metrics_of_all), (one, metrics))
    print("equal")


@pytest.mark.slow
def test_pmap_gives_the_parameters_of_training():
    """float64, 4 devices, 3 steps: 1e-12 of the norm of every array of the state."""
    environment = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{Path(__file__).parent}",
    }
    done = subprocess.run(
        [sys.executable, __file__],
        cwd=REPOSITORY,
        env=os.environ | environment | DOUBLE,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.stdout == "equal\n", done.stderr


if __name__ == "__main__":
    compare_with_pmap()
