"""Arguments of recipes: the cut-down `smoke`, what is refused, the workdir."""

import pytest
from papers import SMOKES, load, read

from sr_jax import configuration
from sr_jax.recipe import default_workdir


@pytest.mark.parametrize("recipe", SMOKES)
def test_smoke_is_small(recipe):
    name, _, arguments = recipe.partition(":")
    words = [word for word in arguments.split(",") if word != "smoke"]
    smoke, whole = load(recipe), load(":".join([name, ",".join(words)]).rstrip(":"))
    assert smoke.data.source == "photos"
    assert smoke.init_from is None
    assert 60 <= smoke.train.steps <= 150
    assert smoke.train.log_every == 10
    assert smoke.train.eval_every in (smoke.train.steps // 2, smoke.train.steps)
    assert smoke.train.checkpoint_every == smoke.train.steps // 2
    assert smoke.train.eval_images == 1
    if name == "srcnn":  # three layers are small as they are
        assert smoke.model == whole.model
    else:
        assert smoke.data.batch_size == 8
        assert smoke.model.n_feats <= 16
    for field in ("model.name", "data.scales", "adversarial.weight"):
        assert read(smoke, field) == read(whole, field)
    for field in ("name", "decay_factor", "momentum", "b1", "b2", "weight_decay", "layer_rates"):
        assert smoke.optimizer[field] == whole.optimizer[field]
    assert smoke.optimizer.clip == whole.optimizer.clip
    assert smoke.optimizer.clip_bound == whole.optimizer.clip_bound
    if recipe != "srgan:smoke":  # from scratch it takes the paper's SRGAN-MSE
        assert smoke.loss == whole.loss
    if "photos" not in words:
        assert load(recipe + ",folder=a").data.path == "a"


def test_smoke_of_srgan_starts_from_that_of_srresnet():
    start, generator = load("srresnet:smoke").model, load("srgan:smoke").model
    assert {**start, "name": ""} == {**generator, "name": ""}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "x5",
            r"unknown config argument 'x5'; known are x2, x3, baseline, photos, div2k, smoke, fo",
        ),
        ("x2,x3", "choose the scale twice"),
        ("photos,folder=a", "choose the source twice"),
        ("folder=", "needs a path"),
    ],
)
def test_wrong_arguments(text, message):
    with pytest.raises(ValueError, match=message):
        configuration.parse_arguments(text, scales=(2, 3), variants=("baseline",))


@pytest.mark.parametrize(
    ("recipe", "known"),
    [
        ("vdsr:x2", "photos, div2k, smoke, folder=PATH"),
        ("mdsr:x2", "baseline, photos, div2k, smoke, folder=PATH"),
        ("srgan:x2", "x4, vgg54, vgg22, mse, photos, div2k, smoke, folder=PATH"),
        ("csnln:x8", "x2, x3, x4, photos, div2k, smoke, folder=PATH"),
        ("edsr:x8", "x2, x3, x4, baseline, photos, div2k, smoke, folder=PATH"),
    ],
)
def test_scales_that_a_recipe_has_not(recipe, known):
    word = recipe.partition(":")[2]
    with pytest.raises(ValueError, match=f"unknown config argument '{word}'; known are {known}"):
        load(recipe)


@pytest.mark.parametrize(
    ("name", "arguments", "workdir"),
    [
        ("edsr", "x2,baseline", "runs/edsr-x2-baseline"),
        ("vdsr", "", "runs/vdsr"),
        ("vdsr", "folder=a/T91,b", "runs/vdsr-folder-a-T91-b-2c039d"),
    ],
)
def test_default_workdir(name, arguments, workdir):
    assert default_workdir(f"configs/{name}.py:{arguments}".rstrip(":")) == workdir
