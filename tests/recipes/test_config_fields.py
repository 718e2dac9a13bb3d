"""Fields of recipes: the papers' numbers, schedules, types, and what must go together."""

import numpy as np
import pytest
from papers import ARGUMENTS, EVERY, PAPERS, SMOKES, load, read

from sr_jax import configuration
from sr_jax.evaluation.perceptual import FEATURE_LOSSES
from sr_jax.models import check_call, create_model
from sr_jax.recipe import read_schedule
from sr_jax.training.losses import LOSSES


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


def test_defaults_leave_room_for_every_field():
    config = configuration.get_defaults()
    assert config.train.keep_checkpoints_every == 0
    assert config.loss.vgg is None
    assert config.adversarial.to_dict() == {"weight": 0.0, "n_feats": 64}
