"""Networks of the Hugging Face Hub, wherever a model is asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
from hubs import NETWORK, NEW, OLD, assert_same, drawn
from hubs import cache as cache
from hubs import connections as connections
from hubs import filled as filled
from hubs import foreign as foreign

import sr_jax
from sr_jax import hub, weights
from sr_jax.commands.convert import Target, convert
from sr_jax.commands.evaluate import evaluate
from sr_jax.commands.upscale import upscale
from sr_jax.imaging.files import read_image, write_image
from sr_jax.interop.torch import to_torch
from sr_jax.opening import open_model
from sr_jax.storage import digest


def test_a_network_is_opened_with_what_to_say_of_it(filled):
    opened = open_model("hf:user/net@v1")
    assert opened.note == hub.fetch("hf:user/net@v1").note
    assert opened.identity == digest(hub.fetch("hf:user/net@v1").path)
    assert_same(opened.variables, 0)
    assert_same(sr_jax.load("hf:user/net")[1], 1)
    image = np.zeros((8, 8, 3), np.uint8)
    assert sr_jax.Upscaler("hf:user/net")(image).shape == (16, 16, 3)
    with pytest.raises(ValueError, match="a step is for a training workdir, but hf:user/net is on"):
        open_model("hf:user/net", step=3)


def test_a_published_checkpoint_is_converted(foreign, tmp_path, capsys):
    opened = open_model("hf:user/net")
    assert opened.note.startswith(f"from the cache: hf:user/net@{OLD}/edsr.safetensors (")
    assert "edsr.safetensors is converted: " in opened.note
    assert_same(opened.variables, 1)
    convert(Path("hf:user/net/edsr.safetensors"), tmp_path / "mine.safetensors")
    assert f"from the cache: hf:user/net@{OLD}/edsr" in capsys.readouterr().out
    assert_same(weights.load(tmp_path / "mine.safetensors")[1], 1)


def test_a_weights_file_is_turned_back(filled, tmp_path, capsys):
    convert(Path("hf:user/net@v1"), tmp_path / "net.npz", to=Target.TORCH)
    assert f"hf:user/net@{OLD}/net.safetensors" in capsys.readouterr().out
    np.testing.assert_array_equal(
        np.load(tmp_path / "net.npz")["head.0.weight"], to_torch(NETWORK, drawn(0))["head.0.weight"]
    )


def test_images_go_through_it_and_only_the_same_content_goes_on(filled, tmp_path, capsys):
    images = [tmp_path / "in" / f"{name}.png" for name in "ab"]
    for image in images:
        write_image(image, np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    broken = tmp_path / "in" / "c.png"
    broken.write_bytes(b"no image")  # so that the command is not finished
    options = {"model": "hf:user/net", "output": tmp_path / "out"}
    with pytest.raises(Exception, match="1"):
        upscale([*images, broken], **options)
    assert f"from the cache: hf:user/net@{NEW}/net.safetensors" in capsys.readouterr().out
    expected = sr_jax.Upscaler("hf:user/net")(read_image(images[0]))
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.png"), expected)
    same = {**options, "model": f"hf:user/net@{NEW}/net.safetensors"}
    with pytest.raises(Exception, match="1"):
        upscale([*images, broken], **same)
    assert "going on (images done before: 2)" in capsys.readouterr().out
    filled.point("main", OLD)
    with pytest.raises(ValueError, match=r"a.png exists and is not of an unfinished run"):
        upscale([*images, broken], **options)


def test_it_is_scored(filled, tmp_path, capsys):
    folder = tmp_path / "set"
    write_image(folder / "a.png", np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    evaluate([folder], model=["new=hf:user/net", "old=hf:user/net@v1"], output=tmp_path / "s.json")
    printed = capsys.readouterr().out
    assert f"hf:user/net@{NEW}/net.safetensors" in printed
    assert f"hf:user/net@{OLD}/net.safetensors" in printed
    rows = {row["method"]: row["psnr"] for row in json.loads((tmp_path / "s.json").read_text())}
    assert rows["new"] != rows["old"]
