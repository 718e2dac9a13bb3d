"""The inputs of public reports, each with the answer that it shall get.

Tests of the rooms cover each kind with inputs of their own; these run the reported ones themselves.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import typer
from helpers import random_variables
from PIL import Image

import sr_jax
from configs import edsr
from sr_jax import weights
from sr_jax.commands.convert import convert
from sr_jax.commands.evaluate import evaluate
from sr_jax.commands.upscale import upscale
from sr_jax.imaging.files import read_image, read_picture
from sr_jax.inference.program import compiled
from sr_jax.models import create_model
from sr_jax.recipe import read_config
from sr_jax.train import train

REPORTS = "cases/reports"


@pytest.fixture
def reported(shared, tmp_path):
    """`reported("03_x2_names")`: a copy of that input."""

    def copy(name):
        source, target = shared(f"{REPORTS}/{name}"), tmp_path / "in" / name
        if source.is_dir():
            return shutil.copytree(source, target)
        target.parent.mkdir(parents=True)
        return shutil.copy(source, target)

    return copy


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A weights file of a small x2 network."""
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    network = create_model("edsr_baseline", n_resblocks=1, n_feats=4)
    weights.save(path, network, random_variables(network, 0.05))
    return str(path)


def config_of(folder, **fields):
    config = edsr.get_config(f"smoke,folder={folder}")
    with config.unlocked():
        config.update_from_flattened_dict(
            {"model.n_resblocks": 1, "model.n_feats": 4, "train.steps": 2} | fields
        )
    return config


def pairs_of(folder, **fields):
    """(split, name of the HR file) -> the LR file or None, of a training."""
    recipe = read_config(config_of(folder, **fields))
    splits = {"train": recipe.sampler.images, "validation": recipe.validation}
    return {
        (split, os.path.relpath(str(pair.read_hr), folder)): (
            os.path.relpath(str(pair.read_lr[2]), folder) if 2 in pair.read_lr else None
        )
        for split, pairs in splits.items()
        for pair in pairs
    }


def evaluated(folder, tmp_path, model="bicubic", code=0, **options):
    """Names -> PSNR of bicubic, and what scores.json says."""
    output = tmp_path / "s.json"
    with pytest.raises(typer.Exit) if code else contextlib.nullcontext():
        evaluate([folder], model=[model], output=output, scale=[2], **options)
    images = json.loads(output.with_suffix(".images.json").read_text(), parse_constant=pytest.fail)
    means = json.loads(output.read_text(), parse_constant=pytest.fail)
    return {row["image"]: row["psnr"] for row in images if row["method"] == "bicubic"}, means


def names(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("[!.]*") if p.is_file())


# ------------------------------------------------------------------------ data sets


def test_01_layouts_div2k(reported):
    pairs = pairs_of(reported("01_layouts/DIV2K"), **{"data.lr_patch_size": 16})
    assert pairs == {
        ("train", f"DIV2K_train_HR/{n}.png"): f"DIV2K_train_LR_bicubic/X2/{n}x2.png"
        for n in ("0001", "0002", "0003")
    } | {("validation", "DIV2K_valid_HR/0004.png"): "DIV2K_valid_LR_bicubic/X2/0004x2.png"}


@pytest.mark.parametrize(
    ("name", "hr", "lr"),
    [
        ("HR_LR", "HR", "LR"),
        ("small_x", "HR", "LR_bicubic/x2"),
        ("lower", "hr", "lr"),
        ("Set_basicsr", "GTmod12", "LRbicx2"),
    ],
)
def test_01_layouts_in_pairs(name, hr, lr, reported, capsys, tmp_path):
    folder = reported(f"01_layouts/{name}")
    pairs = pairs_of(folder)
    assert {(hr_file, lr_file) for (_, hr_file), lr_file in pairs.items()} == {
        (f"{hr}/{n}.png", f"{lr}/{n}.png") for n in ("0001", "0002", "0003", "0004")
    }
    scores, _ = evaluated(folder, tmp_path)
    assert sorted(scores) == ["0001", "0002", "0003", "0004"]
    assert f"4 HR images in {folder / hr}; LR x2 in {folder / lr}" in capsys.readouterr().out


@pytest.mark.slow
def test_02_large_photographs_are_trained_and_validated_on(reported, tmp_path):
    train(read_config(config_of(reported("02_big"))), tmp_path / "run")
    assert (tmp_path / "run/weights.safetensors").exists()


def test_03_names_that_end_in_x2(reported, tmp_path):
    scores, _ = evaluated(reported("03_x2_names"), tmp_path)
    assert sorted(scores) == ["photo", "photox2", "third"]
    assert min(scores.values()) > 20


def test_04_a_small_image_costs_itself(reported, tmp_path, capsys, caplog):
    folder = reported("04_small")
    scores, means = evaluated(folder, tmp_path, code=1)
    assert sorted(scores) == ["0001", "0002", "0003"]
    assert {row["images"] for row in means} == {3}
    assert "0000_icon" in capsys.readouterr().err
    recipe = read_config(config_of(folder, **{"data.lr_patch_size": 24}))
    assert len(recipe.sampler.without_small_images().images) >= 2


def test_05_infinite_psnr(reported, tmp_path):
    scores, means = evaluated(reported("05_blank"), tmp_path)
    assert scores["0000_white"] is None
    assert all(np.isfinite(row["psnr"]) for row in means)


def test_07_hidden_folders(reported, model, tmp_path):
    folder = reported("07_hidden")
    assert {name for _, name in pairs_of(folder)} == {"0001.png", "0002.png", "0003.png"}
    upscale([folder], model=model, output=tmp_path / "out")
    assert names(tmp_path / "out") == ["0001.png", "0002.png", "0003.png"]


@pytest.mark.parametrize("field", ["train.eval_every", "train.checkpoint_every", "train.log_every"])
def test_intervals_of_zero(field, shared):
    folder = shared(f"{REPORTS}/07_hidden")
    with pytest.raises(ValueError, match=f"{field} is 0, expected 1 or more"):
        read_config(config_of(folder, **{field: 0}))


@pytest.mark.parametrize("field", ["data.lr_patch_size", "data.batch_size"])
def test_sizes_of_zero(field, shared):
    folder = shared(f"{REPORTS}/07_hidden")
    with pytest.raises(ValueError, match=f"{field} is 0, expected 1 or more"):
        read_config(config_of(folder, **{field: 0}))


# ----------------------------------------------------------------------------------- names


def test_06_names_as_they_are(reported, tmp_path, capsys):
    evaluated(reported("06_names"), tmp_path)
    evaluated(reported("06_names_crash"), tmp_path, overwrite=True)
    shown = capsys.readouterr().out
    for name in ("still[hd]", "[bold]x", "x[/b]y"):
        assert name in shown


def test_06_names_that_are_not_utf8(shared, tmp_path):
    folder = tmp_path / "in"
    subprocess.run(["sh", shared(f"{REPORTS}/06_names_latin1.sh"), folder], check=True)
    scores, _ = evaluated(folder, tmp_path)
    assert len(scores) == 2


def test_15_a_name_too_long(shared, model, tmp_path, capsys):
    subprocess.run(["bash", shared(f"{REPORTS}/15_long_names.sh"), tmp_path / "in"], check=True)
    (tmp_path / "out").mkdir()
    with pytest.raises(typer.Exit):
        upscale([tmp_path / "in"], model=model, output=tmp_path / "out", suffix="_x2")
    assert names(tmp_path / "out") == ["good_x2.png"]
    assert capsys.readouterr().err.count("the name of its output is too long") == 1


# ------------------------------------------------------------------------- files to be upscaled


def test_08_suffixes(reported, model, tmp_path, capsys):
    upscale([reported("08_suffixes")], model=model, output=tmp_path / "out")
    done = ["eight", "four", "one", "seven", "six", "three", "two"]
    assert names(tmp_path / "out") == [f"{name}.png" for name in done]
    assert "five.jpeg_large" in capsys.readouterr().out


@pytest.mark.slow
def test_14_many_sizes(shared, model, tmp_path):
    """Few programs, the same pixels: each crop of another size by itself gives them too."""
    script = [sys.executable, shared(f"{REPORTS}/14_many_sizes.py"), tmp_path / "in", "400"]
    subprocess.run(script, check=True)
    compiled.cache_clear()
    upscale([tmp_path / "in"], model=model, output=tmp_path / "out")
    assert compiled.cache_info().misses < 10
    assert len(names(tmp_path / "out")) == 400
    for name in ("0000.png", "0123.png", "0399.png"):
        alone = sr_jax.Upscaler(model)(read_image(tmp_path / "in" / name))
        found = read_image(tmp_path / "out" / name)
        np.testing.assert_allclose(np.int32(found), alone, atol=1)


def test_09_files_of_one_stem(reported, model, tmp_path):
    upscale([reported("09_same_stem")], model=model, output=tmp_path / "out")
    assert names(tmp_path / "out") == ["a.jpg.png", "a.png.png", "b.png"]


@pytest.mark.parametrize("name", ["nir8", "nir16", "gray4", "six"])
def test_11_extra_bands(name, reported, model, tmp_path, capsys):
    with pytest.raises(typer.Exit):
        upscale([reported(f"11_bands/{name}.tif")], model=model, output=tmp_path / "out")
    assert not names(tmp_path)[1:]
    error = capsys.readouterr().err
    assert f"{name}.tif" in error
    assert "channels" in error or "bands" in error


def test_12_no_dark_ring(reported, model, tmp_path):
    shown = []
    for name in ("disc_alpha1_black", "disc_reference"):
        upscale([reported(f"12_alpha/{name}.png")], model=model, output=tmp_path / "out")
        result = read_image(tmp_path / f"out/{name}.png")
        opacity = result[..., 3:] / 255
        shown.append(opacity * result[..., :3] + (1 - opacity) * 255)
        shutil.rmtree(tmp_path / "in")
    assert np.abs(shown[0] - shown[1]).max() <= 2


def test_13_metadata(reported, model, tmp_path):
    folder = reported("13_metadata")
    upscale([folder], model=model, output=tmp_path / "out")
    for name in names(folder):
        before = read_picture(folder / name).metadata
        after = read_picture(tmp_path / "out" / name).metadata if name.endswith("png") else None
        if name == "exif.jpg":
            after = read_picture(tmp_path / "out/exif.png").metadata
            with Image.open(folder / name) as image:
                date, place = image.getexif().get(0x0132), dict(image.getexif().get_ifd(0x8825))
            with Image.open(tmp_path / "out/exif.png") as image:
                assert image.getexif().get(0x0132) == date
                assert dict(image.getexif().get_ifd(0x8825)) == place
        assert (after.gamma, after.cicp) == (before.gamma, before.cicp)
        assert after.dpi == (before.dpi and pytest.approx(before.dpi, abs=0.02))


def test_an_interrupted_upscaling_goes_on(reported, model, tmp_path, capsys, monkeypatch):
    from sr_jax.imaging import files

    write, written = files.write_image, []

    def write_two(path, *arguments, **options):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(path, *arguments, **options)

    folder = reported("06_names")
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_image", write_two)
        with pytest.raises(KeyboardInterrupt):
            upscale([folder], model=model, output=tmp_path / "out")
    upscale([folder], model=model, output=tmp_path / "out")
    assert len(names(tmp_path / "out")) == 5
    shown = capsys.readouterr().out
    assert "going on (images done before: 2)" in shown
    assert "3 of 3 images written" in shown


# --------------------------------------------------- checkpoints, starting points


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mmagic_srcnn.pth", "taken out of  .*generator"),
        ("thop.pth", "left aside .*total_ops"),
        ("compiled.pth", "taken out of  .*_orig_mod"),
        ("numpy_scalar.pth", "architecture"),
        ("lightning.ckpt", "taken out of  .*net"),
        ("extra_int.pth", "left aside .*pro"),
    ],
)
def test_10_checkpoints(name, said, reported, tmp_path, capsys):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    convert(reported(f"10_checkpoints/{name}"), tmp_path / "out.safetensors")
    assert re.search(said, capsys.readouterr().out)
    weights.load(tmp_path / "out.safetensors")


def test_a_start_with_another_residual_scale_is_refused(tmp_path, shared):
    network = create_model("edsr_baseline", n_resblocks=1, n_feats=4, res_scale=0.1)
    weights.save(tmp_path / "m.safetensors", network, random_variables(network, 0.05))
    config = config_of(
        shared(f"{REPORTS}/07_hidden"),
        **{"init_from": str(tmp_path / "m.safetensors"), "model.res_scale": 1.0},
    )
    with pytest.raises(ValueError, match=r"res_scale is 0\.1 there and 1\.0 here"):
        train(read_config(config), tmp_path / "run")


def test_a_platform_that_is_not_there_is_one_line():
    ended = subprocess.run(
        [sys.executable, "-m", "sr_jax.main", "--config=configs/edsr.py:smoke"],
        env=os.environ | {"JAX_PLATFORMS": "cuda"},
        capture_output=True,
        text=True,
        check=False,
    )
    if jax.default_backend() == "gpu":
        pytest.skip("this machine has that platform")
    assert ended.returncode == 1
    *before, error = ended.stderr.splitlines()
    assert re.fullmatch(r"error: JAX cannot use JAX_PLATFORMS=cuda here \(.*\).*", error)
    assert [line.partition(" ")[2] for line in before] == ["configs/edsr.py:smoke: starting JAX"]
