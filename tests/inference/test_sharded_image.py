"""One image over eight devices against one device.

A process of its own pretends to have the devices, and works through all cases; its output is what
the tests look at. Heights are not divisible by eight: the devices' parts are not equal.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest

from sr_jax import weights
from sr_jax.commands.upscale import upscale
from sr_jax.imaging.files import read_image, write_image
from sr_jax.inference.cost import predict_memory
from sr_jax.inference.program import jitted
from sr_jax.inference.settings import Settings
from sr_jax.inference.upscaler import run_network

DEVICES = 8
WHOLE, SHARED = Settings(), Settings(shard=True)

# Name, hyper-parameters, scale, height. Of 5 rows some devices get none.
CASES = {
    "srcnn": ("srcnn_955", {"padding": "replicate"}, 3, 43),
    "vdsr": ("vdsr", {"depth": 3, "n_feats": 4}, 2, 43),
    "srresnet": ("srresnet", {"n_resblocks": 1, "n_feats": 4}, 4, 43),
    "edsr": ("edsr", {"n_resblocks": 1, "n_feats": 4, "scale": 4}, 4, 43),
    "mdsr": ("mdsr", {"n_resblocks": 1, "n_feats": 4}, 3, 43),
    "rcan": ("rcan", {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16}, 2, 43),
    "san": ("san", {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16}, 2, 43),
    "csnln": ("csnln", {"n_feats": 4, "depth": 1, "tile": 3, "max_scores": 2000}, 2, 43),
    "csnln_x3": ("csnln", {"n_feats": 4, "depth": 1, "scale": 3}, 3, 19),
    "edsr_of_5_rows": ("edsr", {"n_resblocks": 1, "n_feats": 4}, 2, 5),
    "san_of_5_rows": ("san", {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16}, 2, 5),
    "csnln_of_5_rows": ("csnln", {"n_feats": 4, "depth": 1}, 2, 5),
}


def error(model, variables, image, scale, **options) -> float:
    """Of the shared image, relative to the largest value of the whole one."""
    whole, shared = (
        run_network(model, variables, image, scale, dataclasses.replace(settings, **options))
        for settings in (WHOLE, SHARED)
    )
    assert whole.shape == shared.shape
    return float(np.abs(shared - whole).max() / np.abs(whole).max())


def memory(model, variables, side) -> dict[str, float]:
    """Temporary bytes of each device as a share of a single one's; all bytes, predicted / real."""
    images = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
    one, each = (
        jitted(model, 2, "float32", devices).lower(variables, images).compile().memory_analysis()
        for devices in (1, DEVICES)
    )
    needed = each.argument_size_in_bytes + each.output_size_in_bytes + each.temp_size_in_bytes
    predicted = predict_memory(model, variables, (side, side), 2, SHARED)
    temporaries = each.temp_size_in_bytes / one.temp_size_in_bytes
    return {"temporaries": temporaries, "predicted": predicted / needed}


def command(model, variables, image, folder) -> int:
    """Grey levels by which the command's output changes with --shard-image."""
    weights.save(folder / "model.safetensors", model, variables)
    write_image(folder / "photo.png", np.uint8(255 * image))
    inputs, model = [folder / "photo.png"], str(folder / "model.safetensors")
    upscale(inputs, folder / "shared", model=model, shard_image=True, dry_run=True)
    upscale(inputs, folder / "whole", model=model)
    upscale(inputs, folder / "shared", model=model, shard_image=True)
    whole, shared = (read_image(folder / name / "photo.png") for name in ("whole", "shared"))
    return int(np.abs(whole.astype(int) - shared).max())


def main() -> None:
    """All cases, on the devices of this process."""
    from conftest import _network as network
    from conftest import _photo as photo

    assert jax.local_device_count() == DEVICES
    found = {}
    for case, (name, hyperparameters, scale, height) in CASES.items():
        model, variables = network(name, **hyperparameters)
        found[case] = error(model, variables, photo(height, 29, model.n_colors), scale)
    san = network("san", n_resgroups=1, n_resblocks=1, n_feats=16)
    found["float64"] = error(*san, photo(43, 29), 2, dtype="float64")
    edsr = network("edsr", n_resblocks=1, n_feats=4)
    found["ensemble"] = error(*edsr, photo(21, 29), 2, ensemble=True, batch=3)
    found["memory"] = {
        "edsr": memory(*network("edsr", n_resblocks=2, n_feats=16), 250),
        "csnln": memory(*network("csnln", depth=1, n_feats=32), 250),
    }
    with tempfile.TemporaryDirectory() as folder:
        found["command"] = command(*edsr, photo(21, 30), Path(folder))
    print(json.dumps(found))


@pytest.fixture(scope="module")
def output() -> list[str]:
    """Lines that the process prints."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
    done = subprocess.run(
        [sys.executable, __file__],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def found(output):
    return json.loads(output[-1])


@pytest.mark.parametrize("case", [*CASES, "ensemble"])
def test_result_is_that_of_one_device(case, found):
    """float32, 1e-5 of the largest value: sums over the image have another order.

    SAN's root of a covariance multiplies that rounding; the others stay below 1e-6.
    """
    assert found[case] < (1e-5 if case.startswith("san") else 1e-6)


def test_it_is_rounding_alone(found):
    """SAN again, in float64."""
    assert found["float64"] < 1e-12


def test_each_device_needs_less(found):
    """Of temporaries a conv network's devices need an eighth each, and the rows of neighbours."""
    assert found["memory"]["edsr"]["temporaries"] < 0.25
    # Keys, values and a block of scores are on every device.
    assert found["memory"]["csnln"]["temporaries"] < 0.5


@pytest.mark.parametrize("network", ["edsr", "csnln"])
def test_predicted_memory_is_that_of_a_device(network, found):
    """The compiler's figure for a device, within 10 %."""
    assert found["memory"][network]["predicted"] == pytest.approx(1, rel=0.1)


def test_command(output, found):
    """Rounded to grey levels, of which an error of 1e-6 can change a few by one."""
    assert found["command"] <= 1
    assert "1 tile of 30 x 21 (the whole image over 8 devices); " in output[0]
    assert " MiB for the network on each of 8 devices, " in output[0]


def test_a_single_device_gets_it_whole_or_in_tiles(network, photo):
    model, variables = network("edsr", n_resblocks=1, n_feats=4)
    whole, shared = (run_network(model, variables, photo(9, 8), 2, s) for s in (WHOLE, SHARED))
    np.testing.assert_array_equal(whole, shared)


if __name__ == "__main__":
    main()
