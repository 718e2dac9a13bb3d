"""Recipes: arguments, fields, types."""

import pytest

from configs import common, demo, edsr, srcnn, vdsr
from sr_jax.main import default_workdir
from sr_jax.models import create_model

CONFIGS = [
    (edsr, None, {"model.name": "edsr", "model.scale": 2, "data.source": "div2k"}),
    (edsr, "x4,baseline,photos", {"model.name": "edsr_baseline", "data.scales": (4,)}),
    (edsr, "folder=a,b", {"data.source": "folder", "data.path": "a,b"}),
    (srcnn, None, {"model.name": "srcnn_915", "data.source": "folder", "data.lr_patch_size": 33}),
    (srcnn, "955,x3,photos", {"model.name": "srcnn_955", "model.scale": 3}),
    (vdsr, "photos", {"model.name": "vdsr", "data.scales": (2, 3, 4), "optimizer.name": "sgd"}),
    (demo, None, {"data.source": "photos", "model.name": "edsr_baseline"}),
]


@pytest.mark.parametrize(("module", "arguments", "expected"), CONFIGS)
def test_fields(module, arguments, expected):
    config = module.get_config(arguments) if arguments else module.get_config()
    for field, value in expected.items():
        section, name = field.split(".")
        assert config[section][name] == value
    create_model(**config.model)
    assert config.is_locked
    with pytest.raises(AttributeError):
        config.train.stepz = 3
    with pytest.raises(TypeError):
        config.train.steps = "many"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x5", r"unknown config argument 'x5'; known are x2, x3, baseline, photos, div2k, folder="),
        ("x2,x3", "choose the scale twice"),
        ("photos,folder=a", "choose the source twice"),
        ("folder=", "needs a path"),
    ],
)
def test_wrong_arguments(text, message):
    with pytest.raises(ValueError, match=message):
        common.parse_arguments(text, scales=(2, 3), variants=("baseline",))


def test_default_workdir():
    assert default_workdir("configs/edsr.py:x2,baseline") == "runs/edsr-x2-baseline"
    assert default_workdir("configs/vdsr.py") == "runs/vdsr"
    assert default_workdir("configs/vdsr.py:folder=a/T91,b") == "runs/vdsr-folder-a-T91-b"
