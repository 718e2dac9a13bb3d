"""The command `export` as a user types it, and what it refuses."""

import json
import sys

import numpy as np
import pytest
from helpers import random_variables

import sr_jax
from sr_jax import weights
from sr_jax.__main__ import app
from sr_jax.commands.console import run
from sr_jax.models import create_model


@pytest.fixture
def export(monkeypatch, capsys, tmp_path):
    """`export("net.safetensors", "net.onnx")`: what is printed; an error raises SystemExit."""
    monkeypatch.chdir(tmp_path)
    model = create_model("edsr_baseline", n_resblocks=1, n_feats=4, scale=2)
    weights.save("net.safetensors", model, random_variables(model, 0.1))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sr-jax", "export", *map(str, arguments)])
        run(lambda: app(standalone_mode=False))
        return capsys.readouterr().out

    return call


def test_stablehlo_with_its_facts(export, tmp_path):
    out = export("net.safetensors", "deep/net.stablehlo")
    assert "edsr x2, any size; StableHLO for cpu, cuda, tpu" in out
    assert "of the largest value on noise of 1x24x36 and 2x30x24" in out
    facts = json.loads((tmp_path / "deep/net.json").read_text())
    assert facts["hyperparameters"]["n_feats"] == 4
    assert sr_jax.load("deep/net.stablehlo")(np.zeros((1, 5, 6, 3), np.float32)).shape[1:3] == (
        10,
        12,
    )


def test_onnx_of_a_fixed_size(export, tmp_path):
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: the extra `onnx`")
    out = export("net.safetensors", "net.onnx", "--size", "12x8")
    assert "edsr x2, 12x8 pixels; ONNX, opset 18" in out
    with pytest.raises(SystemExit, match=r"net\.onnx exists: give --overwrite"):
        export("net.safetensors", "net.onnx")
    assert "any size" in export("net.safetensors", "net.onnx", "--overwrite")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "net.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["net.safetensors", "net.pb"], r"must end in \.stablehlo or \.onnx"),
        (["net.safetensors", "net.onnx", "--size", "12"], "expected HEIGHTxWIDTH"),
        (["net.safetensors", "net.onnx", "--size", "0x12"], "expected HEIGHTxWIDTH"),
        (["net.safetensors", "net.stablehlo", "--scale", "3"], "upscales by 2; asked for scale 3"),
        (["nothing.safetensors", "net.stablehlo"], "no such weights file"),
        (["net.onnx", "net.stablehlo"], "is an export"),
    ],
)
def test_one_line_and_nothing_written(export, tmp_path, arguments, message):
    pytest.importorskip("onnxruntime", reason="needs onnxruntime: the extra `onnx`")
    with pytest.raises(SystemExit, match=message) as error:
        export(*arguments)
    assert str(error.value).startswith("error: ")
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_a_json_that_is_there_is_not_replaced(export, tmp_path):
    (tmp_path / "net.json").write_text("mine")
    with pytest.raises(SystemExit, match=r"net\.json exists"):
        export("net.safetensors", "net.stablehlo")
    assert (tmp_path / "net.json").read_text() == "mine"


def test_an_export_is_no_network(export):
    with pytest.raises(ValueError, match="is an export: give the network"):
        sr_jax.Upscaler("net.onnx")
