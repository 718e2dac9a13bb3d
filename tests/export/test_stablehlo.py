"""StableHLO files: what they give, on three platforms' programs, without the package's networks."""

import json
import os
import subprocess
import sys

import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from networks import FIXED, NETWORKS, build

import sr_jax
from sr_jax.export.exported import FORMAT
from sr_jax.export.program import make_program
from sr_jax.export.stablehlo import to_stablehlo
from sr_jax.models import create_model, forward


def write(folder, name, **options):
    """The path of a small network's export, and the network."""
    model, variables = build(name)
    program = make_program(model, variables, **options)
    content, _ = to_stablehlo(program)
    (folder / "net.stablehlo").write_bytes(content)
    (folder / "net.json").write_text(json.dumps({"format": FORMAT, **program.facts}))
    return folder / "net.stablehlo", model, variables


@pytest.mark.parametrize("name", NETWORKS)
def test_an_export_gives_what_the_network_gives(name, tmp_path):
    scale = 3 if name == "mdsr_baseline" else None
    size = (16, 20) if name in FIXED else None
    path, model, variables = write(tmp_path, name, scale=scale, size=size)
    shape = (1, *size) if size else (3, 17, 21)  # not the sizes by which the export was tried
    images = np.random.default_rng(5).random((*shape, model.n_colors), np.float32)
    expected = np.asarray(forward(model, variables, jnp.asarray(images), scale=scale))
    actual = sr_jax.load(path)(images)
    assert actual.shape == expected.shape
    # Float32 sums in another order: see test_onnx.py.
    assert np.abs(actual - expected).max() < 1e-5 * np.abs(expected).max()
    program = jax.export.deserialize(bytearray(path.read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")


SCRIPT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("flax", "optax", "orbax", "tensorflow"):
            raise ModuleNotFoundError(f"no {name}", name=name)
sys.meta_path.insert(0, Absent())
import numpy as np
import sr_jax
network = sr_jax.load(sys.argv[1])
images = np.linspace(0, 1, 2 * 9 * 7 * 3, dtype=np.float32).reshape(2, 9, 7, 3)
np.save(sys.argv[2], network(images))
print(network.facts["architecture"], network.facts["scale"])
"""


def test_an_export_runs_without_flax(tmp_path):
    path, model, variables = write(tmp_path, "edsr_baseline")
    arguments = [sys.executable, "-c", SCRIPT, str(path), str(tmp_path / "large.npy")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=300)
    assert done.stdout == "edsr 3\n", done.stderr
    images = jnp.linspace(0, 1, 2 * 9 * 7 * 3, dtype=jnp.float32).reshape(2, 9, 7, 3)
    expected = forward(model, variables, images)
    actual = np.load(tmp_path / "large.npy")
    assert np.abs(actual - expected).max() < 1e-5 * np.abs(expected).max()


def test_what_an_export_needs_is_said(tmp_path):
    path, *_ = write(tmp_path, "srcnn_955")
    absent = (
        "import sys; sys.modules['flatbuffers'] = None; import sr_jax; sr_jax.load(sys.argv[1])"
    )
    arguments = [sys.executable, "-c", absent, str(path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=300)
    assert "install 'flatbuffers'" in done.stderr.splitlines()[-1]
    assert "no program" not in done.stderr


def test_images_that_do_not_fit_are_one_line(tmp_path):
    path, *_ = write(tmp_path, "csnln", size=(8, 12))
    network = sr_jax.load(path)
    assert network.facts["size"] == [8, 12]
    with pytest.raises(ValueError, match=r"float32 of \(1, 8, 10, 3\), expected .*\(1, 8, 12, 3\)"):
        network(np.zeros((1, 8, 10, 3), np.float32))
    with pytest.raises(ValueError, match="images are uint8"):
        network(np.zeros((1, 8, 12, 3), np.uint8))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "net.json").unlink(), "no .*net.json"),
        (lambda folder: (folder / "net.json").write_text("[]"), "does not say that it is"),
        (lambda folder: (folder / "net.json").write_bytes(b"\xff"), "cannot be read"),
        (lambda folder: (folder / "net.stablehlo").unlink(), "no .*net.stablehlo"),
        (lambda folder: (folder / "net.stablehlo").write_bytes(b"PK" * 99), "no program"),
        (lambda folder: (folder / "net.stablehlo").write_bytes(b""), "no program"),
    ],
)
def test_a_damaged_export_is_one_line(damage, message, tmp_path):
    path, *_ = write(tmp_path, "srcnn_955")
    damage(tmp_path)
    with pytest.raises(ValueError, match=message):
        sr_jax.load(path)


def test_options_of_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no `allow` and no `step`"):
        sr_jax.load(tmp_path / "net.stablehlo", step=3)


def test_sizes_and_scales_that_a_network_has_not():
    with pytest.raises(ValueError, match=r"san depends on the size .*--size"):
        make_program(*build("san"))
    with pytest.raises(ValueError, match=r"scales 2, 3, 4: say which"):
        make_program(*build("mdsr_baseline"))
    vgg = create_model("vgg16")
    with pytest.raises(ValueError, match="vgg16 makes no images"):
        make_program(vgg, {})
    with pytest.raises(ValueError, match="divisible by 2"):
        make_program(*build("csnln"), size=(9, 8))
    with pytest.raises(ValueError, match="upscales by 3; asked for scale 2"):
        make_program(*build("edsr_baseline"), scale=2)
