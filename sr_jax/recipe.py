"""From a config to the parts of a training. Nothing behind this door knows a config."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax
import optax
from ml_collections import ConfigDict

from sr_jax.data import photo, resident, sources
from sr_jax.data.patches import ImageCache, PatchSampler
from sr_jax.data.sources import ImagePair
from sr_jax.evaluation.perceptual import FEATURE_LOSSES, feature_loss
from sr_jax.models import create_model, describe_model
from sr_jax.models.network import Network
from sr_jax.ranges import DTYPES, check_ranges
from sr_jax.training.losses import Loss, get_loss
from sr_jax.training.optimizers import make_optimizer, make_schedule


class Adversary(NamedTuple):
    """What a network is trained against (SRGAN).

    Attributes:
        discriminator: the network that judges the training patches.
        weight: of its term in the loss.
    """

    discriminator: Network
    weight: float


@dataclass(frozen=True)
class Recipe:
    """All that `sr_jax.train.train` needs; each part may be one of your own.

    Attributes:
        model: the network.
        sampler: draws its training patches.
        validation: the images that it is validated on.
        optimizer: see `sr_jax.training.optimizers.make_optimizer`.
        schedule: the learning rate as a function of the updates done.
        loss: of a prediction and a target in [0, 1].
        steps: updates in all.
        seed: of the initial parameters.
        adversary: None trains on the loss alone.
        init_from: weights file, name or workdir of another network to start from, see
            `sr_jax.training.start.read_start`; None is from scratch.
        init_strict: see `sr_jax.training.start.read_start`.
        dtype: of the computation, one of `DTYPES`.
        accumulate: parts in which a batch is processed; 0 has the number chosen.
        ema_decay: of the average of the parameters that is validated and shipped; 0 keeps none.
        remat: whether repeated blocks are computed again in the backward pass.
        degradation: of the training inputs, one of `sr_jax.data.photo.DEGRADATIONS`.
        placement: where patches are cut, see `sr_jax.data.resident.place`.
        threads: that prepare batches on the host.
        log_every, eval_every, checkpoint_every: steps.
        keep_checkpoints: how many of the newest stay.
        keep_checkpoints_every: those of multiples of this step stay for ever; 0: none does.
        config: what WORKDIR/config.json says, a tree of plain values. Its section `model` tells
            one training from another.

    Raises:
        ValueError: the parts do not fit each other. The message calls them by a config's names.
    """

    model: Network
    sampler: PatchSampler
    validation: tuple[ImagePair, ...]
    optimizer: optax.GradientTransformationExtraArgs
    schedule: optax.Schedule
    loss: Loss
    steps: int
    seed: int = 0
    adversary: Adversary | None = None
    init_from: str | None = None
    init_strict: bool = True
    dtype: str = "float32"
    accumulate: int = 0
    ema_decay: float = 0.0
    remat: bool = False
    degradation: str = "bicubic"
    placement: str = "auto"
    threads: int = 2
    log_every: int = 100
    eval_every: int = 1000
    checkpoint_every: int = 1000
    keep_checkpoints: int = 2
    keep_checkpoints_every: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def scales(self) -> tuple[int, ...]:
        """The scales that are trained and validated."""
        return self.sampler.scales

    def __post_init__(self) -> None:
        known = self.model.known_scales
        if known == ():
            raise ValueError(f"{describe_model(self.model)[0]} is no network that upscales images")
        if known is not None and not set(self.scales) <= set(known):
            raise ValueError(
                f"data.scales is {self.scales}, but the network has {known}: make them agree"
            )
        if self.adversary and not (
            len(self.scales) == 1 and self.model.n_colors == 3 and not self.model.takes_interpolated
        ):
            raise ValueError(
                "adversarial.weight is for networks of one scale that upscale RGB themselves: set "
                "it to 0 for this one"
            )
        for name, value, choices in (
            ("train.dtype", self.dtype, DTYPES),
            ("data.degradation", self.degradation, photo.DEGRADATIONS),
            ("data.placement", self.placement, resident.PLACEMENTS),
        ):
            if value not in choices:
                raise ValueError(f"{name} is {value!r}; known are {', '.join(choices)}")
        if self.degradation == "photo" and self.model.takes_interpolated:
            raise ValueError(
                "data.degradation photo is for networks that upscale images themselves, this one "
                "takes an interpolated image: set it to bicubic"
            )
        if self.dtype == "float64" and not jax.config.read("jax_enable_x64"):
            raise ValueError("train.dtype float64 needs the environment variable JAX_ENABLE_X64=1")
        size = self.sampler.batch_size
        if self.accumulate < 0 or size % (self.accumulate or 1):
            raise ValueError(
                f"train.accumulate is {self.accumulate}, which does not divide data.batch_size "
                f"{size}: set it to a number that does, or to 0 to have it chosen"
            )


def read_config(config: ConfigDict) -> Recipe:
    """Makes the parts that a config describes; lists the images, and decodes none.

    Args:
        config: see `configuration.get_defaults`. One that names a network outside this package
            allows that it is imported.

    Raises:
        ValueError: an unknown value, parts that do not fit each other, or images that are not
            there; one line says how to mend it.
    """
    check_ranges(_fields(config))
    model = create_model(**config.model, allow=(config.model.name,))
    data, train = config.data, config.train
    sampler = PatchSampler(
        load_images(config, "train"),
        tuple(data.scales),
        data.lr_patch_size,
        data.batch_size,
        config.seed,
        n_colors=model.n_colors,
        interpolated=model.takes_interpolated,
        cache=ImageCache(data.cache_megabytes * 2**20),
    )
    validation = load_images(config, "validation")[: train.eval_images]
    if data.degradation == "photo":
        validation = photo.degraded(validation, config.seed)
    adversary = None
    if config.adversarial.weight:
        side = data.lr_patch_size * data.scales[0]
        width = config.adversarial.n_feats
        discriminator = create_model("srgan_discriminator", image_size=side, n_feats=width)
        adversary = Adversary(discriminator, config.adversarial.weight)
    return Recipe(
        model=model,
        sampler=sampler,
        validation=validation,
        optimizer=read_optimizer(config.optimizer, model),
        schedule=read_schedule(config.optimizer),
        loss=read_loss(config.loss),
        steps=train.steps,
        seed=config.seed,
        adversary=adversary,
        init_from=None if config.init_from == "none" else config.init_from,
        init_strict=config.init_strict,
        dtype=train.dtype,
        accumulate=train.accumulate,
        ema_decay=train.ema,
        remat=train.remat,
        degradation=data.degradation,
        placement=data.placement,
        threads=data.threads,
        log_every=train.log_every,
        eval_every=train.eval_every,
        checkpoint_every=train.checkpoint_every,
        keep_checkpoints=train.keep_checkpoints,
        keep_checkpoints_every=train.keep_checkpoints_every,
        config=json.loads(config.to_json_best_effort()),
    )


def _fields(config: ConfigDict) -> dict[str, Any]:
    """The values by section and field, as in 'data.scales', without the section `model`."""
    fields = {}
    for name, value in config.items():
        if not isinstance(value, ConfigDict):
            fields[name] = value
        elif name != "model":
            fields |= {f"{name}.{inner}": value[inner] for inner in value}
    return fields


def load_images(config: ConfigDict, split: str) -> tuple[ImagePair, ...]:
    """The images of a config: 'train' or 'validation'."""
    data = config.data
    return sources.load(data.source, split, path=data.path, scales=data.scales)


# The fields of the section `optimizer` that make the schedule.
_RATES = ("learning_rate", "decay_factor", "decay_every", "decay_at", "warmup", "cosine")


def read_optimizer(
    section: ConfigDict, model: Network | None = None
) -> optax.GradientTransformationExtraArgs:
    """The optimiser of a config's section `optimizer`."""
    fields = {name: value for name, value in section.items() if name not in _RATES}
    fields["layer_rates"] = dict(section.layer_rates)
    return make_optimizer(**fields, model=model)


def read_schedule(section: ConfigDict) -> optax.Schedule:
    """The learning rate of a config's section `optimizer`."""
    return make_schedule(**{name: section[name] for name in _RATES})


def read_loss(section: ConfigDict) -> Loss:
    """The loss of a config's section `loss`."""
    if section.name in FEATURE_LOSSES:
        return feature_loss(section.name, section.scale, section.vgg)
    return get_loss(section.name, section.scale)


def default_workdir(config: str) -> str:
    """Where `python -m sr_jax.main --config=CONFIG` puts its results: a place of its own for each.

    >>> default_workdir("configs/edsr.py:x2,baseline")
    'runs/edsr-x2-baseline'
    >>> default_workdir("configs/vdsr.py:folder=T91"), default_workdir("configs/vdsr.py:folder,T91")
    ('runs/vdsr-folder-T91-35fef5', 'runs/vdsr-folder-T91')
    """
    name, _, arguments = config.partition(":")
    words = re.findall(r"[\w.]+", arguments)
    if ",".join(words) != arguments:  # which the words alone would not tell from others
        words.append(hashlib.sha256(arguments.encode()).hexdigest()[:6])
    return "-".join([f"runs/{Path(name).stem}", *words])
