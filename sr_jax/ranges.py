"""The range of every field of a config."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sr_jax.data.photo import DEGRADATIONS
from sr_jax.data.resident import PLACEMENTS
from sr_jax.evaluation.perceptual import FEATURE_LOSSES
from sr_jax.training.losses import LOSSES
from sr_jax.training.optimizers import CLIPS, OPTIMIZERS

DTYPES = ("float32", "bfloat16", "float64")


class Range(NamedTuple):
    """What a field may be: a test, and what the message expects."""

    holds: Callable[[Any], bool]
    expected: str


def _one_of(*names: str) -> Range:
    return Range(lambda value: value in names, f"one of {', '.join(names)}")


_FINITE = math.isfinite
_COUNT = Range(lambda value: value >= 1, "1 or more")
_ANY_COUNT = Range(lambda value: value >= 0, "0 or more")
_POSITIVE = Range(lambda value: _FINITE(value) and value > 0, "a positive number")
_NOT_NEGATIVE = Range(lambda value: _FINITE(value) and value >= 0, "0 or a positive number")
_SHARE = Range(lambda value: 0 <= value < 1, "from 0 to below 1")
_ANY = Range(lambda value: True, "")

RANGES: Mapping[str, Range] = {
    "seed": Range(lambda value: 0 <= value < 2**32, "from 0 to below 2**32"),
    "init_from": _ANY,
    "init_strict": _ANY,
    "data.source": _one_of("photos", "folder", "div2k"),
    "data.path": _ANY,
    "data.scales": Range(
        lambda value: (
            len(value) > 0
            and len(set(value)) == len(value)
            and all(type(scale) is int and 2 <= scale <= 16 for scale in value)
        ),
        "different whole numbers from 2 to 16",
    ),
    "data.lr_patch_size": _COUNT,
    "data.batch_size": _COUNT,
    "data.degradation": _one_of(*DEGRADATIONS),
    "data.placement": _one_of(*PLACEMENTS),
    "data.threads": Range(lambda value: 1 <= value <= 256, "from 1 to 256"),
    "data.cache_megabytes": _ANY_COUNT,
    "train.steps": Range(lambda value: 1 <= value < 2**31, "from 1 to below 2**31"),
    "train.log_every": _COUNT,
    "train.eval_every": _COUNT,
    "train.eval_images": _COUNT,
    "train.checkpoint_every": _COUNT,
    "train.keep_checkpoints": _COUNT,
    "train.keep_checkpoints_every": _ANY_COUNT,
    "train.accumulate": _ANY_COUNT,
    "train.remat": _ANY,
    "train.dtype": _one_of(*DTYPES),
    "train.ema": _SHARE,
    "optimizer.name": _one_of(*OPTIMIZERS),
    "optimizer.learning_rate": _POSITIVE,
    "optimizer.decay_factor": Range(lambda value: 0 < value <= 1, "above 0, 1 at most"),
    "optimizer.decay_every": _ANY_COUNT,
    "optimizer.warmup": _ANY_COUNT,
    "optimizer.cosine": _ANY_COUNT,
    "optimizer.decay_at": Range(
        lambda value: all(type(step) is int and step >= 1 for step in value),
        "whole numbers from 1 on",
    ),
    "optimizer.b1": _SHARE,
    "optimizer.b2": _SHARE,
    "optimizer.eps": _POSITIVE,
    "optimizer.momentum": _SHARE,
    "optimizer.weight_decay": _NOT_NEGATIVE,
    "optimizer.clip": _one_of(*CLIPS),
    "optimizer.clip_bound": _NOT_NEGATIVE,
    "optimizer.layer_rates": Range(
        lambda value: all(_FINITE(rate) and rate >= 0 for rate in dict(value).values()),
        "numbers of 0 or more",
    ),
    "loss.name": _one_of(*LOSSES, *FEATURE_LOSSES),
    "loss.scale": _POSITIVE,
    "loss.vgg": _ANY,
    "adversarial.weight": _NOT_NEGATIVE,
    "adversarial.n_feats": _COUNT,
}


def check_ranges(fields: Mapping[str, Any]) -> None:
    """Checks a config's fields, each by itself and those that go together.

    Args:
        fields: "section.field" -> value, without the section `model`.

    Raises:
        ValueError: a field out of its range, without one, or without use; it is named.
    """
    for name, value in fields.items():
        if name not in RANGES:
            raise ValueError(f"the config has a field {name}, which is not known")
        try:
            holds = RANGES[name].holds(value)
        except (TypeError, ValueError, OverflowError):
            holds = False
        if not holds:
            raise ValueError(f"{name} is {value!r}, expected {RANGES[name].expected}")
    clip, bound = fields["optimizer.clip"], fields["optimizer.clip_bound"]
    if (clip != "none") != (bound > 0):
        raise ValueError(
            f"optimizer.clip_bound is {bound} with optimizer.clip {clip!r}: give both a clip and a "
            "positive bound, or neither"
        )
    if fields["loss.vgg"] is not None and fields["loss.name"] not in FEATURE_LOSSES:
        raise ValueError(
            f"loss.vgg is for loss.name {' or '.join(FEATURE_LOSSES)}, given {fields['loss.name']}"
        )
    if fields["adversarial.n_feats"] != 64 and not fields["adversarial.weight"]:
        raise ValueError(
            "adversarial.n_feats is the width of a discriminator, of which there is none with "
            "adversarial.weight 0: leave it at 64"
        )
    if fields["data.path"] is not None and fields["data.source"] == "photos":
        raise ValueError(f"data.path is {fields['data.path']!r}, but the source photos takes none")
