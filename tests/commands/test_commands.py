"""The commands upscale and models, on files, and how all commands begin and end."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import typer

from sr_jax import weights
from sr_jax.commands import models, upscale
from sr_jax.imaging.files import read_image, write_image
from sr_jax.imaging.resize import imresize
from sr_jax.inference import upscaler
from sr_jax.models import create_model


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A weights file of a network that knows nothing, as file and as workdir."""
    folder = tmp_path_factory.mktemp("workdir")
    model = create_model("edsr_baseline", n_resblocks=1, n_feats=4)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    weights.save(folder / "weights.safetensors", model, variables)
    return folder


@pytest.fixture
def photos(tmp_path):
    """A folder of images in every layout, one of them in a folder of its own."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    for name, shape, dtype in [
        ("rgb", (20, 24, 3), np.uint8),
        ("grey", (20, 24), np.uint8),
        ("deep/rgba16", (20, 24, 4), np.uint16),
    ]:
        image = rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)
        write_image(folder / f"{name}.png", image)
    return folder


def test_upscale_keeps_layout_names_and_depth(network, photos, tmp_path):
    upscale.upscale([photos], model=str(network), output=tmp_path / "out")
    for name, shape, dtype in [
        ("rgb", (40, 48, 3), np.uint8),
        ("grey", (40, 48), np.uint8),
        ("deep/rgba16", (40, 48, 4), np.uint16),
    ]:
        result = read_image(tmp_path / "out" / f"{name}.png")
        assert (result.shape, result.dtype) == (shape, dtype)
    alpha = read_image(photos / "deep/rgba16.png")[..., 3]
    np.testing.assert_array_equal(
        read_image(tmp_path / "out/deep/rgba16.png")[..., 3], imresize(alpha, 2)
    )


def test_upscale_takes_single_files_and_draws_a_comparison(network, photos, tmp_path):
    upscale.upscale(
        [photos / "rgb.png"],
        model=str(network / "weights.safetensors"),
        output=tmp_path / "out",
        comparison=tmp_path / "comparison.png",
    )
    assert read_image(tmp_path / "comparison.png").shape[2] in (3, 4)


def test_upscale_refuses_to_overwrite(network, photos, tmp_path):
    arguments = {"model": str(network), "output": tmp_path / "out"}
    upscale.upscale([photos / "rgb.png"], **arguments)
    with pytest.raises(ValueError, match=r"rgb\.png exists and is not of .*: give --overwrite"):
        upscale.upscale([photos], **arguments)
    assert not (tmp_path / "out" / "grey.png").exists()
    upscale.upscale([photos], **arguments, overwrite=True)


def test_one_bad_file_does_not_stop_the_others(network, photos, tmp_path, capsys):
    (photos / "broken.png").write_bytes((photos / "rgb.png").read_bytes()[:200])
    with pytest.raises(typer.Exit):
        upscale.upscale([photos], model=str(network), output=tmp_path / "out")
    assert "broken.png" in capsys.readouterr().err
    assert len(list((tmp_path / "out").rglob("*.png"))) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.0}, "--scale is 0.0, expected a positive number"),
        ({"model": "nowhere"}, "no such weights file or workdir"),
    ],
)
def test_upscale_refuses(network, photos, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        upscale.upscale([photos], **{"model": str(network), "output": tmp_path / "o", **options})
    assert not (tmp_path / "o").exists()


def test_luma_network_takes_the_chroma_bicubic():
    """A network that returns its input gives bicubic interpolation; 1e-6 is float32 rounding."""
    model = create_model("vdsr", depth=2, n_feats=2)
    variables = jax.tree.map(jnp.zeros_like, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    image = np.random.default_rng(0).random((9, 7, 3))
    result = upscaler.upscale_rgb(model, variables, image, 3)
    np.testing.assert_allclose(result, imresize(image, 3), atol=2e-6)


def test_network_without_padding_keeps_the_size_of_an_image():
    model = create_model("srcnn_955", padding="valid")
    variables = model.init(jax.random.key(0), jnp.zeros((1, 24, 24, 1)))
    assert upscaler.run_network(model, variables, np.zeros((5, 6, 1)), 2).shape == (10, 12, 1)


def test_sizes_that_a_network_cannot_take_are_padded_and_cropped():
    """CSNLN x2 wants even sides; of a 5 x 7 image it sees the last row and column twice."""
    model = create_model("csnln", n_feats=8, depth=1)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    image = np.random.default_rng(0).random((5, 7, 3), np.float32)
    result = upscaler.run_network(model, variables, image, 2)
    padded = image[np.array([0, 1, 2, 3, 4, 4])][:, np.array([0, 1, 2, 3, 4, 5, 6, 6])]
    expected = upscaler.run_network(model, variables, padded, 2)
    assert result.shape == (10, 14, 3)
    np.testing.assert_array_equal(result, expected[:10, :14])
    san = create_model("san", n_resgroups=1, n_resblocks=1, n_feats=16)
    variables = jax.jit(san.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    assert upscaler.run_network(san, variables, image[:1, :3], 2).shape == (2, 6, 3)


def test_scale_of_a_network():
    mdsr = create_model("mdsr", n_resblocks=1, n_feats=4)
    assert upscaler.network_scale(mdsr, 3) == 3
    with pytest.raises(ValueError, match="upscales by 2, 3, 4: say by how much"):
        upscaler.network_scale(mdsr, None)
    with pytest.raises(ValueError, match="upscales by 2, 3, 4, not by 8"):
        upscaler.network_scale(mdsr, 8)
    with pytest.raises(ValueError, match="vgg19 is no network that upscales"):
        upscaler.network_scale(create_model("vgg19"), 2)
    assert upscaler.network_scale(create_model("rcan", scale=8), None) == 8


def test_models_lists_them(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    models.models()
    printed = capsys.readouterr().out.splitlines()
    assert max(map(len, printed)) <= 80
    rows = {line.split()[0]: line.split()[1:] for line in printed if "," in line}
    assert rows["edsr_baseline"] == ["1,369,859", "2", "RGB", "36", "316.3", "G"]
    assert rows["rcan"][3] == "whole"
    assert rows["srcnn_915"] == ["8,129", "any", "luma*", "6", "7.4", "G"]


@pytest.mark.parametrize("command", ["upscale", "evaluate"])
def test_the_old_and_script_are_the_same_command(command):
    for start, notes in (([f"sr_jax.{command}"], 1), (["sr_jax", command], 0)):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", *start, "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "--model" in done.stdout
        assert done.stderr.count(f"is now `python -m sr_jax {command}`") == notes


def test_errors_are_one_line_and_a_code(tmp_path):
    options = ["--model", "no", "--output", str(tmp_path / "o")]
    command = [sys.executable, "-m", "sr_jax", "upscale", "no.png", *options]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 1
    assert process.stderr == (
        "error: no: no such weights file or workdir, and no network that comes with sr_jax, which "
        "`sr-jax models` lists\n"
    )
    assert list(tmp_path.iterdir()) == []
