"""What goes wrong around a training: a full disk, files of all kinds in the training folder."""

import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from processes import Run, photos, steps, train

from sr_jax.imaging import files


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
def test_full_disk_is_told_and_mended(small_disk):
    arguments = (
        "--config.model.n_feats=16",
        "--config.train.steps=60",
        "--config.train.checkpoint_every=2",
        "--config.train.keep_checkpoints=40",
        "--config.train.log_every=20",
    )
    workdir = small_disk / "run"
    log = small_disk.with_name("log")
    error = Run(workdir, *arguments, log=log).error()
    whole = steps(workdir)
    assert 0 < len(whole) < 30
    assert f"cannot write a checkpoint to {workdir}/checkpoints" in error
    assert f"the newest whole one is step {whole[-1]}" in error

    subprocess.run(["mount", "-o", "remount,size=40m", small_disk], check=True)
    output = Run(workdir, *arguments, log=log).finish()
    assert f"resuming at step {whole[-1]} of" in output
    assert steps(workdir)[-1] == 60


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_named(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    workdir = small_disk / "run"
    error = Run(workdir, "--config.train.steps=2", log=small_disk.with_name("log")).error()
    assert error == f"error: {workdir}: Read-only file system"


@pytest.mark.slow
def test_a_workdir_that_is_removed_stops_its_training(tmp_path):
    run = Run(tmp_path / "run", "--config.train.steps=100000", "--config.train.checkpoint_every=50")
    run.wait_for(lambda: steps(run.workdir))
    run.workdir.rename(tmp_path / "gone")
    assert run.error() == f"error: {run.workdir} was removed while its training ran: stopped"
    assert not (run.workdir / "weights.safetensors").exists()


@pytest.fixture
def folder(tmp_path):
    """A copy of the photographs of the tests, to be spoiled."""
    return shutil.copytree(photos(), tmp_path / "photos")


def test_files_of_all_kinds_are_trained_on_and_small_ones_named(folder, tmp_path):
    rgb = files.read_image(folder / "train" / "00.png")
    kinds = folder / "train" / "kinds"
    files.write_image(kinds / "grey.png", rgb[..., 0])
    files.write_image(kinds / "rgba.png", np.dstack([rgb, rgb[..., :1]]))
    files.write_image(kinds / "deep.tif", rgb.astype(np.uint16) * 257)
    Image.fromarray(rgb).convert("CMYK").save(kinds / "cmyk.jpg")
    files.write_image(kinds / "small.png", rgb[:23])
    arguments = ("--config.train.steps=8", f"--config.data.path={folder}")  # every image thrice
    output = train(tmp_path / "run", *arguments)
    assert " 9 images, " in output
    told = [line for line in output.splitlines() if "training images are left out" in line]
    assert len(told) == 1
    assert "1 of 10 training images are left out, as their shorter side is under 24" in told[0]
    assert told[0].endswith("kinds/small")


@pytest.mark.parametrize(("content", "placement"), [(b"", "device"), (b"truncated", "host")])
def test_an_unreadable_image_costs_itself_alone(content, placement, folder, tmp_path):
    path = folder / "train" / "03.png"
    path.write_bytes(path.read_bytes()[:2000] if content else b"")
    fields = {"train.steps": 8, "data.path": folder, "data.placement": placement}
    output = train(tmp_path / "run", *(f"--config.{name}={v}" for name, v in fields.items()))
    assert output.count(f"left out of training: cannot read image {path}: ") == 1
    assert steps(tmp_path / "run") == [8]
