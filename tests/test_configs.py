"""Recipes: the papers' numbers, arguments, fields, types, schedules, the cut-down `smoke`."""

import importlib

import numpy as np
import pytest

from sr_jax import configuration
from sr_jax.evaluation.perceptual import FEATURE_LOSSES
from sr_jax.models import check_call, create_model
from sr_jax.recipe import default_workdir, read_schedule
from sr_jax.training.losses import LOSSES


def load(recipe):
    """The config of 'name' or 'name:arguments'."""
    name, _, arguments = recipe.partition(":")
    module = importlib.import_module(f"configs.{name}")
    return module.get_config(arguments) if arguments else module.get_config()


def read(config, path):
    """The value of a field such as 'optimizer.b2'."""
    for name in path.split("."):
        config = config[name]
    return config


# What each paper says, typed from the papers, not from the configs.
ADAM = {
    "optimizer.name": "adam",
    "optimizer.b1": 0.9,
    "optimizer.b2": 0.999,
    "optimizer.eps": 1e-8,
    "optimizer.weight_decay": 0.0,
    "optimizer.clip": "none",
}
L1_OF_255 = {"loss.name": "l1", "loss.scale": 255.0, "adversarial.weight": 0.0}
DIV2K = {"data.source": "div2k", "data.lr_patch_size": 48, "data.batch_size": 16}
PAPERS = {
    "srcnn": {
        "model.name": "srcnn_915",
        "model.kernel_sizes": (9, 1, 5),
        "model.n_feats": (64, 32),
        "model.padding": "valid",
        "data.source": "folder",
        "data.scales": (2,),
        "data.lr_patch_size": 33,
        "data.batch_size": 128,
        "train.steps": 6_250_000,  # 8e8 back-propagations
        "optimizer.name": "sgd",
        "optimizer.momentum": 0.9,
        "optimizer.layer_rates.conv_2": 0.1,
        "optimizer.weight_decay": 0.0,
        "optimizer.clip": "none",
        "loss.name": "sum_of_squares",
        "loss.scale": 1.0,
    },
    "vdsr": {
        "model.name": "vdsr",
        "model.depth": 20,
        "model.n_feats": 64,
        "model.use_bias": True,
        "data.source": "folder",
        "data.scales": (2, 3, 4),
        "data.lr_patch_size": 41,
        "data.batch_size": 64,
        "train.steps": 9960,
        "optimizer.name": "sgd",
        "optimizer.momentum": 0.9,
        "optimizer.weight_decay": 1e-4,
        "optimizer.clip": "adjustable",
        "loss.name": "half_sum_of_squares",
        "loss.scale": 1.0,
    },
    "srresnet": {
        **ADAM,
        "model.name": "srresnet",
        "model.scale": 4,
        "model.n_resblocks": 16,
        "model.n_feats": 64,
        "data.source": "div2k",
        "data.scales": (4,),
        "data.lr_patch_size": 24,  # of HR patches of 96 x 96
        "data.batch_size": 16,
        "train.steps": 1_000_000,
        "loss.name": "mse",
        "loss.scale": 2.0,  # [0, 1] to [-1, 1]
        "adversarial.weight": 0.0,
        "init_from": None,
    },
    "srgan": {
        **ADAM,
        "model.name": "srgan_generator",
        "model.scale": 4,
        "model.n_resblocks": 16,
        "model.n_feats": 64,
        "data.source": "div2k",
        "data.scales": (4,),
        "data.lr_patch_size": 24,
        "data.batch_size": 16,
        "train.steps": 200_000,
        "loss.name": "vgg54",
        "loss.scale": 1 / 12.75,
        "loss.vgg": None,
        "adversarial.weight": 1e-3,
        "adversarial.n_feats": 64,
        "init_from": "runs/srresnet",
    },
    "edsr": {
        **ADAM,
        **L1_OF_255,
        **DIV2K,
        "model.name": "edsr",
        "model.scale": 2,
        "model.n_resblocks": 32,
        "model.n_feats": 256,
        "model.res_scale": 0.1,
        "data.scales": (2,),
        "train.steps": 300_000,
    },
    "mdsr": {
        **ADAM,
        **L1_OF_255,
        **DIV2K,
        "model.name": "mdsr",
        "model.scales": (2, 3, 4),
        "model.n_resblocks": 80,
        "model.n_feats": 64,
        "data.scales": (2, 3, 4),
        "train.steps": 650_000,
    },
    "rcan": {
        **ADAM,
        **L1_OF_255,
        **DIV2K,
        "model.name": "rcan",
        "model.scale": 2,
        "model.n_resgroups": 10,
        "model.n_resblocks": 20,
        "model.n_feats": 64,
        "model.reduction": 16,
        "data.scales": (2,),
        "train.steps": 1_000_000,
        "init_from": None,
    },
    "san": {
        **ADAM,
        **L1_OF_255,
        **DIV2K,
        "model.name": "san",
        "model.scale": 2,
        "model.n_resgroups": 20,
        "model.n_resblocks": 10,
        "model.n_feats": 64,
        "model.reduction": 16,
        "data.scales": (2,),
        "data.batch_size": 8,
        "train.steps": 1_000_000,
        "optimizer.b2": 0.99,
    },
    "csnln": {
        **ADAM,
        **L1_OF_255,
        **DIV2K,
        "model.name": "csnln",
        "model.scale": 2,
        "model.n_feats": 128,
        "model.depth": 12,
        "model.rgb_range": 1.0,
        "data.scales": (2,),
        "train.steps": 1_000_000,
        "loss.scale": 1.0,
    },
}

# Arguments, and the fields that they change.
ARGUMENTS = {
    "srcnn:955,x3,photos": {
        "model.name": "srcnn_955",
        "model.kernel_sizes": (9, 5, 5),
        "model.scale": 3,
        "data.scales": (3,),
        "data.source": "photos",
    },
    "srcnn:935,folder=T91": {"model.kernel_sizes": (9, 3, 5), "data.path": "T91"},
    "vdsr:folder=T91,BSDS200": {"data.source": "folder", "data.path": "T91,BSDS200"},
    "srresnet:x2": {"model.scale": 2, "data.scales": (2,), "data.lr_patch_size": 48},
    "srresnet:x3": {"model.scale": 3, "data.scales": (3,), "data.lr_patch_size": 32},
    "srresnet:x8,photos": {"model.scale": 8, "data.lr_patch_size": 12, "data.source": "photos"},
    "srgan:x4": {"loss.name": "vgg54", "init_from": "runs/srresnet-x4"},
    "srgan:vgg22,photos": {
        "loss.name": "vgg22",
        "loss.scale": 1 / 12.75,
        "init_from": "runs/srresnet-photos",
    },
    "srgan:mse,folder=a/mse,b": {
        "loss.name": "mse",
        "loss.scale": 2.0,
        "adversarial.weight": 1e-3,
        "init_from": "runs/srresnet-folder-a-mse-b-abbcc7",
    },
    "edsr:x4,baseline,photos": {
        "model.name": "edsr_baseline",
        "model.scale": 4,
        "model.n_resblocks": 16,
        "model.n_feats": 64,
        "model.res_scale": 1.0,
        "data.scales": (4,),
        "data.source": "photos",
    },
    "edsr:folder=a,b": {"data.source": "folder", "data.path": "a,b"},
    "mdsr:baseline": {"model.name": "mdsr_baseline", "model.n_resblocks": 16},
    "rcan:x8": {"model.scale": 8, "data.scales": (8,), "data.lr_patch_size": 48},
    "rcan:x3,div2k": {"model.scale": 3, "data.scales": (3,), "data.source": "div2k"},
    "san:photos,x4": {"model.scale": 4, "data.scales": (4,), "data.batch_size": 8},
    "csnln:x3": {"model.scale": 3, "data.scales": (3,), "data.lr_patch_size": 48},
    "demo": {"model.name": "edsr_baseline", "data.source": "photos", "train.steps": 800},
}

SMOKES = [
    "srcnn:smoke",
    "srcnn:smoke,955,x4",
    "vdsr:smoke",
    "srresnet:smoke",
    "srresnet:x2,photos,smoke",
    "srresnet:smoke,x3",
    "srresnet:smoke,x8",
    "srgan:smoke",
    "srgan:smoke,vgg22",
    "srgan:smoke,vgg54",
    "edsr:smoke",
    "edsr:x3,smoke,baseline",
    "mdsr:smoke",
    "mdsr:smoke,baseline",
    "rcan:smoke",
    "rcan:smoke,x8",
    "san:smoke",
    "san:smoke,x3",
    "csnln:smoke",
    "csnln:smoke,x3",
    "csnln:smoke,x4",
]

EVERY = [*PAPERS, *ARGUMENTS, *SMOKES]


def test_every_config_is_tested():
    assert set(configuration.recipe_files()) == {recipe.partition(":")[0] for recipe in EVERY}
    assert {recipe.partition(":")[0] for recipe in SMOKES} == set(PAPERS)


@pytest.mark.parametrize("recipe", [*PAPERS, *ARGUMENTS])
def test_fields(recipe):
    config = load(recipe)
    expected = (PAPERS | ARGUMENTS)[recipe]
    assert {field: read(config, field) for field in expected} == expected


@pytest.mark.parametrize("recipe", EVERY)
def test_consistent(recipe):
    config = load(recipe)
    model = create_model(**config.model)
    if model.scale is not None:
        assert config.data.scales == (model.scale,)
    size = config.data.lr_patch_size
    for scale in config.data.scales:
        asked = None if model.takes_interpolated else scale
        check_call(model, (1, size, size, model.n_colors), np.float32, asked)

    assert (config.adversarial.weight > 0) == recipe.startswith("srgan")
    if config.loss.name in FEATURE_LOSSES:  # only SRGAN's paper has them
        assert config.loss.scale == pytest.approx(0.006**0.5, rel=0.02)
        assert config.adversarial.weight > 0
    else:
        assert config.loss.name in LOSSES
        assert config.loss.vgg is None
    if config.adversarial.weight > 0:  # one discriminator, of images of one size
        assert model.n_colors == 3
        assert len(config.data.scales) == 1
        assert not model.takes_interpolated
    if config.init_from:
        assert config.adversarial.weight > 0  # other recipes say so on the command line


@pytest.mark.parametrize("recipe", EVERY)
def test_locked_and_typed(recipe):
    config = load(recipe)
    assert config.is_locked
    with pytest.raises(AttributeError):
        config.train.stepz = 3
    with pytest.raises(TypeError):
        config.train.steps = "many"
    config.train.keep_checkpoints_every = 10_000
    config.loss.vgg = "vgg19.safetensors"


# Update -> learning rate of that update, counted from 0, as the papers say.
SCHEDULES = {
    "srcnn": {0: 1e-4, 6_249_999: 1e-4},
    "vdsr": {
        0: 0.1,
        2489: 0.1,
        2490: 0.01,
        4979: 0.01,
        4980: 1e-3,
        7469: 1e-3,
        7470: 1e-4,
        9959: 1e-4,
    },
    "srresnet": {0: 1e-4, 999_999: 1e-4},
    "srgan": {0: 1e-4, 99_999: 1e-4, 100_000: 1e-5, 199_999: 1e-5},
    "edsr": {0: 1e-4, 199_999: 1e-4, 200_000: 5e-5, 299_999: 5e-5},
    "mdsr": {0: 1e-4, 200_000: 5e-5, 400_000: 2.5e-5, 600_000: 1.25e-5, 649_999: 1.25e-5},
    "rcan": {199_999: 1e-4, 200_000: 5e-5, 599_999: 2.5e-5, 600_000: 1.25e-5, 999_999: 6.25e-6},
    "san": {0: 1e-4, 199_999: 1e-4, 399_999: 5e-5, 400_000: 2.5e-5, 999_999: 6.25e-6},
    "csnln": {0: 1e-4, 199_999: 1e-4, 200_000: 5e-5, 400_000: 5e-5, 999_999: 5e-5},
    "demo": {0: 1e-3, 400: 5e-4, 600: 2.5e-4, 799: 1.25e-4},
    "rcan:smoke": {0: 2e-3, 29: 2e-3, 30: 1e-3, 149: 1.25e-4},
    "vdsr:smoke": {0: 0.1, 36: 0.1, 37: 0.01},
    "srgan:smoke": {49: 5e-3, 50: 5e-4},
}


@pytest.mark.parametrize("recipe", SCHEDULES)
def test_learning_rate(recipe):
    schedule = read_schedule(load(recipe).optimizer)
    for step, rate in SCHEDULES[recipe].items():
        np.testing.assert_allclose(schedule(step), rate, rtol=1e-6, err_msg=f"step {step}")


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


def test_defaults_leave_room_for_every_field():
    config = configuration.get_defaults()
    assert config.train.keep_checkpoints_every == 0
    assert config.loss.vgg is None
    assert config.adversarial.to_dict() == {"weight": 0.0, "n_feats": 64}


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
