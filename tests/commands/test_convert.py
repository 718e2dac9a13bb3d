"""The command `convert` as a user types it, both ways, and what it refuses."""

import itertools
import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from sr_jax import weights
from sr_jax.__main__ import app
from sr_jax.commands.console import run
from sr_jax.commands.convert import parse_settings
from sr_jax.interop.checkpoint import read_checkpoint
from sr_jax.interop.torch import to_torch
from sr_jax.models import create_model, describe_model
from sr_jax.models.mdsr import MDSR
from sr_jax.models.srcnn import SRCNN
from sr_jax.models.srresnet import SRResNet
from sr_jax.models.vdsr import VDSR


@pytest.fixture
def convert(monkeypatch, capsys):
    """`convert("in.pth", "out.safetensors")`: what is printed; an error raises SystemExit."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sr-jax", "convert", *map(str, arguments)])
        run(lambda: app(standalone_mode=False))
        return capsys.readouterr().out

    return call


@pytest.fixture
def network():
    model = create_model("srresnet", n_resblocks=2, n_feats=4)
    return model, filled(model)


def filled(model):
    """Variables of some values, without the time that initialisation takes."""
    shapes, count = weights.variable_shapes(model), itertools.count()
    return jax.tree.map(lambda s: jnp.full(s.shape, next(count), s.dtype), dict(shapes))


@pytest.fixture
def state_dict(network):
    return to_torch(*network)


def test_pytorch_and_back(tmp_path, convert, network, state_dict):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(value) for name, value in state_dict.items()}
    checkpoint = {"params": {}, "params_ema": tensors, "optimizer": {"state": {0: 1}}}
    torch.save(checkpoint, tmp_path / "net.pth")
    printed = convert(tmp_path / "net.pth", tmp_path / "net.safetensors")
    for part in (
        "architecture  srresnet",
        "taken out of  params_ema",
        "read off      scale=4, n_resblocks=2, n_feats=4",
        "assumed       output=linear, bn_epsilon=1e-05",
        "parameters    3,900",
    ):
        assert part in printed
    model, variables = weights.load(tmp_path / "net.safetensors")
    assert model == network[0]
    jax.tree.map(np.testing.assert_array_equal, variables, dict(network[1]))
    for name in ("back.pth", "back.safetensors", "back.npz"):
        convert(tmp_path / "net.safetensors", tmp_path / name, "--to", "torch")
        back, implied = read_checkpoint(tmp_path / name)
        assert back.keys() == state_dict.keys()
        assert not implied
        for key, value in state_dict.items():
            assert (back[key].dtype, back[key].shape) == (value.dtype, value.shape)
            assert back[key].tobytes() == value.tobytes()
    loaded = torch.load(tmp_path / "back.pth", weights_only=True)
    assert list(loaded) == list(state_dict)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_without_pytorch(tmp_path, convert, monkeypatch, state_dict, suffix):
    monkeypatch.setitem(sys.modules, "torch", None)
    if suffix == ".npz":
        np.savez(tmp_path / "net.npz", **state_dict)
    else:
        safetensors.numpy.save_file(state_dict, tmp_path / "net.safetensors")
    printed = convert(tmp_path / f"net{suffix}", tmp_path / "out" / "net.safetensors")
    assert "srresnet" in printed
    (tmp_path / "net.pth").write_bytes(b"PK")
    with pytest.raises(SystemExit, match=r"needs PyTorch: pip install 'sr-jax\[torch\]'"):
        convert(tmp_path / "net.pth", tmp_path / "other.safetensors")


def test_layout_of_the_way_back(tmp_path, convert):
    model = create_model("vdsr_nobias", depth=3, n_feats=4)
    weights.save(tmp_path / "vdsr.safetensors", model, filled(model))
    convert(tmp_path / "vdsr.safetensors", tmp_path / "a.npz", "--to", "torch")
    assert "input.weight" in np.load(tmp_path / "a.npz")
    options = ("--to", "torch", "--layout", "lornatang")
    convert(tmp_path / "vdsr.safetensors", tmp_path / "b.npz", *options)
    assert "conv1.0.weight" in np.load(tmp_path / "b.npz")


PUBLISHED = {
    "srcnn_official/9-1-5_91_images/x2.mat": "srcnn_915",
    "srcnn_official/9-1-5_91_images/x3.mat": "srcnn_915",
    "srcnn_official/9-1-5_91_images/x4.mat": "srcnn_915",
    "srcnn_official/9-1-5_ImageNet/x3.mat": "srcnn_915",
    "srcnn_official/9-3-5_ImageNet/x3.mat": "srcnn_935",
    "srcnn_official/9-5-5_ImageNet/x2.mat": "srcnn_955",
    "srcnn_official/9-5-5_ImageNet/x3.mat": "srcnn_955",
    "srcnn_official/9-5-5_ImageNet/x4.mat": "srcnn_955",
    "vdsr_official/VDSR_Official.mat": "vdsr",
    "vdsr_official/VDSR_Adam.mat": "vdsr",
    "srresnet_srgan_keras/pre_generator.h5": "srresnet",
    "srresnet_srgan_keras/gan_generator.h5": "srresnet",
}


@pytest.mark.parametrize("file", PUBLISHED)
def test_published_files(tmp_path, convert, shared, file):
    output = tmp_path / "net.safetensors"
    settings = ["--set", "scale=2"] if "srcnn" in file else []
    printed = convert(shared(f"weights/{file}"), output, *settings)
    model, _ = weights.load(output)
    assert describe_model(model)[0] == PUBLISHED[file]
    if "srcnn" in file:
        assert (model.padding, model.scale) == ("replicate", 2)
        assert "file format   padding=replicate" in printed
        assert "given         scale=2" in printed


def test_as_a_user_types_it(tmp_path, shared):
    source = shared("weights/srcnn_official/9-1-5_91_images/x3.mat")
    command = [sys.executable, "-m", "sr_jax", "convert", str(source), "srcnn.safetensors"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=_environment(), check=True
    )
    assert "assumed       scale=None" in done.stdout
    again = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=_environment()
    )
    assert again.returncode == 1
    assert again.stderr.strip().splitlines() == [
        "error: srcnn.safetensors exists: give --overwrite, or another name"
    ]


def _environment():
    repository = str(Path(__file__).resolve().parents[1])
    return {**os.environ, "PYTHONPATH": repository, "JAX_PLATFORMS": "cpu"}


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_pickle_does_not_run(tmp_path, convert):
    torch = pytest.importorskip("torch")
    trap = tmp_path / "trap"
    torch.save({"head.0.weight": Malicious(trap)}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps({"head.0.weight": Malicious(trap)}, 2))
    for name in ("a.pth", "b.pth"):
        with pytest.raises(SystemExit, match=rf"^error: .*{name} is refused: .*could run code"):
            convert(tmp_path / name, tmp_path / "out.safetensors")
    np.savez(tmp_path / "c.npz", x=np.array([Malicious(trap)], object))
    with pytest.raises(SystemExit, match=r"c\.npz is not a readable \.npz file of plain arrays"):
        convert(tmp_path / "c.npz", tmp_path / "out.safetensors")
    assert not trap.exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_damaged_files(tmp_path, convert, state_dict):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(value) for name, value in state_dict.items()}
    torch.save(tensors, tmp_path / "a.pth")
    torch.save(tensors, tmp_path / "b.pth", _use_new_zipfile_serialization=False)
    safetensors.numpy.save_file(state_dict, tmp_path / "c.safetensors")
    np.savez(tmp_path / "d.npz", **state_dict)
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for damaged in (whole[: len(whole) // 2], b"junk", b""):
            path.write_bytes(damaged)
            with pytest.raises(SystemExit) as error:
                convert(path, tmp_path / "out" / "net.safetensors")
            message = str(error.value)
            assert message.startswith(f"error: {path} is ")
            assert "\n" not in message
    assert not (tmp_path / "out").exists()


def test_refusals(tmp_path, convert, network, state_dict):
    np.savez(tmp_path / "net.npz", **state_dict)
    output = tmp_path / "net.safetensors"
    cases = {
        (tmp_path / "none.pth", output): "no such file: .*none.pth",
        (tmp_path / "net.npz", tmp_path / "net.pth"): r"the name must end in \.safetensors$",
        (tmp_path / "net.npz", output, "--layout", "edsr"): "--layout is for --to torch",
        (tmp_path / "net.npz", output, "--architecture", "rcan"): (
            r"net\.npz: asked for rcan, but these are tensors of srresnet$"
        ),
        (tmp_path / "net.npz", output, "--set", "depth=3", "--set", "x=1"): (
            "SRResNet has no hyper-parameter depth, x; it has scale, n_resblocks"
        ),
        (tmp_path / "net.npz", output, "--set", "n_feats=6"): "do not fit the network srresnet",
    }
    (tmp_path / "net.onnx").touch()
    cases[tmp_path / "net.onnx", output] = r"cannot read .*: known are \.pth, \.pt"
    for arguments, message in cases.items():
        with pytest.raises(SystemExit, match=message):
            convert(*arguments)
        assert not output.exists()
    weights.save(output, *network)
    with pytest.raises(SystemExit, match="is a weights file already: give --to torch"):
        convert(output, tmp_path / "again.safetensors")
    back = (output, tmp_path / "back.npz", "--to", "torch")
    with pytest.raises(SystemExit, match="no --architecture or --set here"):
        convert(*back, "--set", "scale=2")
    convert(*back)
    with pytest.raises(SystemExit, match="exists: give --overwrite"):
        convert(*back)
    convert(*back, "--overwrite")


def test_settings_are_typed_by_the_field():
    assert parse_settings(SRCNN, ["scale=3", "kernel_sizes=9,5,5", "padding=valid"]) == {
        "scale": 3,
        "kernel_sizes": (9, 5, 5),
        "padding": "valid",
    }
    assert parse_settings(MDSR, ["scales=(2, 4)", "rgb_range=1"]) == {
        "scales": (2, 4),
        "rgb_range": 1.0,
    }
    assert parse_settings(VDSR, ["scale=none", "use_bias=False"]) == {
        "scale": None,
        "use_bias": False,
    }
    for setting in ("scale=two", "n_feats=6.5", "conv_bias=1", "bn_epsilon=tiny"):
        with pytest.raises(ValueError, match=f"--set {setting}: expected (int|float|bool)"):
            parse_settings(SRResNet, [setting])
    with pytest.raises(ValueError, match="--set takes FIELD=VALUE; given scale"):
        parse_settings(SRCNN, ["scale"])
