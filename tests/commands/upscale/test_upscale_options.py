"""The command `upscale`: scale, profile, options, a dry run, a comparison."""

import re

import numpy as np
import pytest
import typer
from folders import noise
from PIL import Image, ImageCms
from typer.testing import CliRunner

from sr_jax import weights
from sr_jax.__main__ import app
from sr_jax.commands.upscale import upscale
from sr_jax.imaging.files import from_float, read_image, read_picture, to_float, write_image
from sr_jax.imaging.resize import imresize
from sr_jax.inference.upscaler import network_factor, upscale_image, upscale_rgb
from sr_jax.models import create_model

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize(
    ("name", "fields", "scale", "factor"),
    [
        ("edsr_baseline", {"scale": 3}, None, 3),
        ("edsr_baseline", {"scale": 3}, 2.0, 3),
        ("edsr_baseline", {"scale": 3}, 7.5, 3),
        ("mdsr", {}, 2.0, 2),
        ("mdsr", {}, 2.1, 3),
        ("mdsr", {}, 0.5, 2),
        ("mdsr", {}, 9.0, 4),
        ("vdsr", {}, 2.5, 3),
        ("vdsr", {}, 3.0, 3),
        ("srcnn_915", {"scale": 3}, 4.0, 3),
        ("srcnn_915", {}, 0.3, 1),
    ],
)
def test_factor_of_the_network(name, fields, scale, factor):
    assert network_factor(create_model(name, **fields), scale) == factor


@pytest.mark.parametrize("name", ["mdsr", "vdsr", "vgg16"])
def test_networks_without_a_scale_of_their_own(name):
    with pytest.raises(ValueError, match=r"say by how much|no network that upscales"):
        network_factor(create_model(name), None)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("scale", "shape"), [(1.5, (11, 14)), (3.25, (23, 29)), (0.01, (1, 1))])
def test_fractional_scales(model, tmp_path, scale, shape, dtype):
    """The network's own factor, then bicubic on floats, rounded once at the end."""
    image = noise(7, 9, 3, dtype=dtype)
    write_image(tmp_path / "a.png", image)
    upscale([tmp_path / "a.png"], model=model, output=tmp_path / "out", scale=scale)
    own = upscale_rgb(*weights.load(model), to_float(image), 2)
    expected = from_float(imresize(own, size=shape), dtype)
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.png"), expected)


def test_profile_and_orientation(model, tmp_path):
    """The profile comes with the output; the orientation is applied and not written again."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in (".jpg", ".tif", ".webp"):
        path = tmp_path / f"a{suffix}"
        Image.fromarray(noise(5, 7, 3)).save(path, exif=exif, icc_profile=SRGB)
        upscale([path], model=model, output=tmp_path / "out", overwrite=True)
        pixels, icc_profile, _ = read_picture(tmp_path / "out" / "a.png")
        assert pixels.shape == (14, 10, 3)
        assert icc_profile == SRGB
        with Image.open(tmp_path / "out" / "a.png") as written:
            assert not written.getexif()


def test_options_reach_the_network(model, tmp_path):
    """Through the parser of the console script, against the library called with the same."""
    from sr_jax.inference.settings import Settings

    image = noise(40, 30, 4)
    write_image(tmp_path / "a.png", image)
    settings = Settings(tile=24, overlap=5, ensemble=True, dtype="bfloat16", batch=3, bucket=32)
    network, variables = weights.load(model)
    expected = upscale_image(network, variables, image, 2, settings, alpha="network")
    command = f"upscale {tmp_path}/a.png --model {model} --output {tmp_path}/out --tile 24"
    command += " --overlap 5 --ensemble --dtype bfloat16 --batch 3 --bucket --alpha network"
    result = CliRunner().invoke(app, command.split(), catch_exceptions=False)
    assert result.exit_code == 0
    assert re.fullmatch(
        r"1 of 1 images written to .*/out in \d+\.\d s \(\d+\.\d\d images/s\)\n", result.stdout
    )
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.png"), expected)
    plain = upscale_image(network, variables, image, 2)
    assert (expected != plain).any()


def test_sharing_an_image_with_no_other_device(model, tmp_path, capsys):
    """One line says so, and images, of many sizes too, go whole."""
    names = [f"{number:02}.png" for number in range(10)]
    for number, name in enumerate(names):
        write_image(tmp_path / "in" / name, noise(20 + number, 30, 3))
    upscale([tmp_path / "in"], model=model, output=tmp_path / "plain", tile="none")
    upscale([tmp_path / "in"], model=model, output=tmp_path / "shared", shard_image=True)
    note = "note: there is a single device, so that --shard-image changes nothing\n"
    assert capsys.readouterr().err == note
    for name in names:
        plain, shared = (read_image(tmp_path / folder / name) for folder in ("plain", "shared"))
        np.testing.assert_array_equal(plain, shared)


def test_dry_run(model, tmp_path, capsys):
    write_image(tmp_path / "in" / "a.png", noise(40, 70, 4))
    (tmp_path / "in" / "bad.png").touch()
    arguments = {"tile": "32", "overlap": "exact", "scale": 3.0, "alpha": "network"}
    with pytest.raises(typer.Exit):
        upscale([tmp_path / "in"], model=model, output=tmp_path / "out", dry_run=True, **arguments)
    captured = capsys.readouterr()
    # EDSR with one block looks 6 pixels far; 2 x 3 tiles, once for colour and once for alpha.
    assert re.fullmatch(
        r".*a\.png: 70 x 40 to 210 x 120 pixels; 12 tiles of 32 x 32 \(.*\); "
        r"\d+ MiB for the network, \d+ MiB for images; \d+\.\d\d G multiply-adds, "
        r"about \d+\.\d s here and what compiling takes\n",
        captured.out,
    )
    assert "bad.png: the file is empty" in captured.err
    assert not (tmp_path / "out").exists()


def test_comparison(model, tmp_path):
    """Of the first image that could be read; an existing picture is not replaced."""
    (tmp_path / "a.png").touch()
    write_image(tmp_path / "b.png", noise(20, 24, dtype=np.uint16))
    arguments = {"model": model, "comparison": tmp_path / "look.png", "scale": 2.5}
    with pytest.raises(typer.Exit):
        upscale([tmp_path / "a.png", tmp_path / "b.png"], output=tmp_path / "out", **arguments)
    assert read_image(tmp_path / "look.png").ndim == 3
    with pytest.raises(ValueError, match=r"look\.png exists"):
        upscale([tmp_path / "b.png"], output=tmp_path / "new", **arguments)
    for place in (tmp_path / "b.png", tmp_path / "out" / "b.png"):
        arguments |= {"comparison": place, "overwrite": True}
        with pytest.raises(ValueError, match=r"b\.png is an input or an output"):
            upscale([tmp_path / "b.png"], output=tmp_path / "out", **arguments)
