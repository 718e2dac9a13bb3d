"""A config becomes the parts of a training, or one line that names the wrong field."""

import math

import pytest

from configs import edsr, srgan
from sr_jax.recipe import read_config

NAN, INFINITY = math.nan, math.inf
WRONG = {
    "seed": [-1],
    "data.source": ["x", ""],
    "data.path": ["somewhere"],
    "data.scales": [(), (1,), (2, 2), (0,), (3,), (-2,)],
    "data.lr_patch_size": [0, -3],
    "data.batch_size": [0, -1],
    "data.placement": ["gpu"],
    "data.threads": [0, -1, 10**6],
    "data.cache_megabytes": [-1],
    "train.steps": [0, -5],
    "train.log_every": [0, -1],
    "train.eval_every": [0, -1],
    "train.eval_images": [0, -1],
    "train.checkpoint_every": [0, -1],
    "train.keep_checkpoints": [0, -1],
    "train.keep_checkpoints_every": [-1],
    "train.accumulate": [-1, 3],
    "train.dtype": ["int8", "float16"],
    "train.ema": [1.0, 1.5, -0.1, NAN],
    "optimizer.name": ["adamw"],
    "optimizer.learning_rate": [0.0, -1.0, NAN, INFINITY],
    "optimizer.decay_factor": [0.0, -0.5, 2.0, NAN],
    "optimizer.decay_every": [-1],
    "optimizer.decay_at": [(0,), (-1,)],
    "optimizer.b1": [1.0, 2.0, -0.1, NAN],
    "optimizer.b2": [1.0, 2.0, NAN],
    "optimizer.eps": [0.0, -1e-8, NAN],
    "optimizer.momentum": [1.0, -0.1, NAN],
    "optimizer.weight_decay": [-1.0, NAN, INFINITY],
    "optimizer.clip": ["all", "value", "norm", "adjustable"],
    "optimizer.clip_bound": [-1.0, 1.0, NAN],
    "loss.name": ["l3", "vgg"],
    "loss.scale": [0.0, -1.0, NAN, INFINITY],
    "loss.vgg": ["vgg19.safetensors"],
    "adversarial.weight": [-1.0, NAN, INFINITY],
    "adversarial.n_feats": [0, -1, 32],
    "model.n_feats": [0, -8],
    "model.n_resblocks": [0, -1],
    "model.scale": [0, 5, 7],
    "model.res_scale": [NAN, INFINITY],
    "model.rgb_range": [NAN, 0.0],
    "model.name": ["edsrr"],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field, values in WRONG.items() for value in values]
)
def test_a_wrong_value_is_one_line_that_names_its_field(field: str, value: object) -> None:
    config = edsr.get_config("smoke").unlock()
    section, _, name = field.rpartition(".")
    (config[section] if section else config)[name] = value
    with pytest.raises(ValueError, match=name if name != "name" else str(value)) as caught:
        read_config(config)
    assert "\n" not in str(caught.value)


def test_a_loss_of_features_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    config = srgan.get_config("vgg54,photos").unlock()
    config.loss.vgg = "none.safetensors"
    with pytest.raises(ValueError, match="no weights file none"):
        read_config(config)
