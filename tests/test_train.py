"""Training end to end, in processes of its own, as a user starts it."""

import dataclasses
import json
import math
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from processes import Run, parameters, photos, read_events, scalars, steps, train

from sr_jax import weights
from sr_jax.commands.convert import Target, convert
from sr_jax.configuration import load_recipe
from sr_jax.data import sources
from sr_jax.data.patches import PatchSampler
from sr_jax.models import create_model
from sr_jax.opening import open_model
from sr_jax.recipe import Recipe, read_config
from sr_jax.train import keep_best
from sr_jax.train import train as train_parts
from sr_jax.training.optimizers import make_optimizer, make_schedule

STEPS = 20


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "trained"
    arguments = (f"--config.train.steps={STEPS}", "--config.train.checkpoint_every=5")
    train(workdir, *arguments, "--config.data.placement=host", "--profile")
    return workdir


def test_workdir_holds_what_it_should(trained):
    model, _ = weights.load(trained / "weights.safetensors")
    assert (model.n_resblocks, model.n_feats, model.scale) == (2, 8, 2)
    assert json.loads((trained / "config.json").read_text())["train"]["steps"] == STEPS
    assert steps(trained) == [15, 20]
    losses = scalars(trained, "train/loss")
    assert len(losses) == STEPS
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    for name in ("learning_rate", "gradient_norm", "psnr"):
        assert len(scalars(trained, f"train/{name}")) == STEPS
    for name in ("images_per_second", "data_wait_share", "data_seconds_per_step"):
        assert len(scalars(trained, f"speed/{name}")) == STEPS
    before, after = scalars(trained, "validation/psnr_x2")
    assert after > before
    assert len(scalars(trained, "validation/bicubic_psnr_x2")) == 1
    assert "x2/00" in read_events(trained).Tags()["tensors"]


def test_a_run_is_a_model_at_any_step(trained, tmp_path):
    """As it is looked at while it goes on: without its final weights."""
    running = tmp_path / "run"
    shutil.copytree(trained, running)
    (running / "weights.safetensors").unlink()
    *network, note, _ = open_model(str(running))
    assert note == f"{running}: the checkpoint of step 20"
    assert_same(network, weights.load(trained / "weights.safetensors"))
    convert(running, tmp_path / "early.safetensors", step=15)
    early = open_model(str(trained), step=15)
    assert early.note == f"{trained}: the checkpoint of step 15"
    assert_same((early.model, early.variables), weights.load(tmp_path / "early.safetensors"))
    convert(running, tmp_path / "run.npz", to=Target.TORCH)
    assert "head.0.weight" in np.load(tmp_path / "run.npz")
    with pytest.raises(ValueError, match=r"no checkpoint of step 7 in .*; there are 15, 20"):
        open_model(str(running), step=7)


def assert_same(network, other):
    assert network[0] == other[0]
    jax.tree.map(np.testing.assert_array_equal, network[1], other[1])


def test_the_best_weights_are_kept(tmp_path):
    model = create_model("srcnn_915", scale=2)
    for step, psnr in ((1, 30.0), (2, 29.0), (3, math.nan), (4, 31.0), (5, 30.5)):
        scores = {"validation/psnr_x2": psnr, "validation/ssim_x2": 0.9}
        keep_best(tmp_path, step, scores, model, filled_with(model, step))
    assert json.loads((tmp_path / "best.json").read_text()) == {"step": 4, "psnr": 31.0}
    _, variables = weights.load(tmp_path / "weights-best.safetensors")
    assert all((leaf == 4).all() for leaf in jax.tree.leaves(variables))


def filled_with(model, value):
    shapes = weights.variable_shapes(model)
    return jax.tree.map(lambda s: np.full(s.shape, value, s.dtype), shapes)


def test_profile_writes_a_trace(trained):
    assert list((trained / "profile").rglob("*.xplane.pb"))


def test_workdir_of_another_network_is_refused(trained):
    error = Run(trained, "--config.model.n_feats=4").error()
    assert "holds the training of another network (model.n_feats is 8 there and 4 here)" in error


def test_diverging_run_stops_and_keeps_its_checkpoint(trained, tmp_path):
    workdir = shutil.copytree(trained, tmp_path / "run")
    before = parameters(workdir)
    huge = ("--config.train.steps=50", "--config.optimizer.learning_rate=1e30")
    error = Run(workdir, *huge).error()
    assert error.startswith("error: step ")
    assert f"the last good checkpoint is step 20 in {workdir}" in error
    assert steps(workdir) == [15, 20]
    after = parameters(workdir)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def test_parts_of_ones_own_train_without_a_config(tmp_path):
    """A sampler, an optimiser and a loss that no config describes."""

    def first_image_only(sampler):
        return dataclasses.replace(sampler, images=sampler.images[:1])

    images = sources.load("folder", "train", path=photos())
    recipe = Recipe(
        model=create_model("edsr_baseline", scale=2, n_resblocks=1, n_feats=4),
        sampler=first_image_only(PatchSampler(images, (2,), patch_size=8, batch_size=4, seed=0)),
        validation=sources.load("folder", "validation", path=photos())[:1],
        optimizer=make_optimizer("sgd", momentum=0.5, clip="norm", clip_bound=0.1),
        schedule=make_schedule(0.1),
        loss=Partial(lambda prediction, target: jnp.mean(jnp.abs(prediction - target) ** 1.5)),
        steps=2,
    )
    train_parts(recipe, tmp_path / "run")
    model, _ = weights.load(tmp_path / "run" / "weights.safetensors")
    assert model == recipe.model
    assert steps(tmp_path / "run") == [2]
    with pytest.raises(ValueError, match=r"data.scales is \(2,\), but the network has \(3,\)"):
        dataclasses.replace(recipe, model=create_model("edsr_baseline", scale=3))


def test_a_training_that_is_refused_writes_nothing(tmp_path):
    config = load_recipe("edsr", f"smoke,folder={photos()}")
    with config.unlocked():
        config.data.lr_patch_size = 10_000
    with pytest.raises(ValueError, match="no training image has a shorter side of 20000 pixels"):
        train_parts(read_config(config), tmp_path / "run")
    assert not (tmp_path / "run").exists()
