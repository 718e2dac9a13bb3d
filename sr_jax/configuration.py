"""Recipes: where they are, the fields that all share, and the arguments behind their names."""

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from sr_jax.models import create_model


def recipe_files() -> dict[str, Path]:
    """The recipes that come with this package: name -> file.

    Of a checkout these are in configs/, of an installed package within it.
    """
    package = Path(__file__).parent
    for folder in (package / "configs", package.parent / "configs"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("[!_]*.py"))}
    return {}


def load_recipe(name: str, arguments: str = "") -> ConfigDict:
    """The config of a recipe that comes with this package.

    Args:
        name: a key of `recipe_files`.
        arguments: what stands behind the name, such as 'x2,baseline,photos'.

    Raises:
        ValueError: unknown name or arguments.
    """
    files = recipe_files()
    if name not in files:
        raise ValueError(f"no recipe {name!r}; there are {', '.join(files)}")
    spec = importlib.util.spec_from_file_location(f"sr_jax_recipe_{name}", files[name])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config: ConfigDict = module.get_config(arguments) if arguments else module.get_config()
    return config


def get_defaults() -> ConfigDict:
    """Every field that a config has, with the values that recipes leave alone. Types are fixed."""
    return ConfigDict(
        {
            "seed": 0,
            # Weights file, also hf:USER/REPO on the Hugging Face Hub, or workdir of another network
            # to start from: what fits is taken. None or "none": from scratch.
            "init_from": placeholder(str),
            # Whether that network must agree in what no shape shows, such as res_scale.
            "init_strict": True,
            # The name and hyper-parameters that `create_model` takes.
            "model": {},
            "data": {
                "source": "div2k",  # photos, folder or div2k
                "path": placeholder(str),  # folder: the folder(s); div2k: TFDS's data_dir
                "scales": (2,),
                "lr_patch_size": 48,  # pixels at the network's input
                "batch_size": 16,  # of all devices of all processes together
                # What comes after the bicubic reduction: "photo" is blur, noise and JPEG, for
                # images as people have them; "bicubic" is nothing, as in the papers.
                "degradation": "bicubic",
                # Where patches are cut, for the same batches: "host", by tf.data; "device", which
                # keeps all images, decoded; "auto": on accelerators, where the images take a
                # quarter of the memory or less.
                "placement": "auto",
                "threads": 2,  # that prepare batches on the host
                "cache_megabytes": 4096,  # of decoded images kept in the host's memory
            },
            "train": {
                "steps": 300_000,
                "log_every": 100,
                "eval_every": 1000,
                "eval_images": 10,  # of the validation images, the first so many
                "checkpoint_every": 1000,
                "keep_checkpoints": 2,
                # Those at multiples of this step are kept for ever; 0 keeps none so.
                "keep_checkpoints_every": 0,
                # Parts that a batch is processed in, to save memory; 0 chooses: the fastest on CPU,
                # else one.
                "accumulate": 0,
                "remat": False,  # compute repeated blocks again in the backward pass, for the same
                # Of the computation: float32, bfloat16, or float64 (with JAX_ENABLE_X64=1).
                # Parameters stay float32 under bfloat16.
                "dtype": "float32",
                # Decay of an average of the parameters, reached after some updates; 0 keeps none.
                "ema": 0.0,
            },
            "optimizer": {
                "name": "adam",  # adam or sgd
                "learning_rate": 1e-4,
                "decay_factor": 0.5,  # the rate is multiplied by this ...
                "decay_every": 0,  # ... every so many updates (0: never) ...
                "decay_at": (),  # ... and at each of these
                "warmup": 0,  # updates in which the rate rises from 0; 0: none
                "cosine": 0,  # updates in which it falls to 0 along half a cosine; 0: it does not
                "b1": 0.9,
                "b2": 0.999,
                "eps": 1e-8,
                "momentum": 0.9,
                "weight_decay": 0.0,
                "clip": "none",  # none, adjustable, value or norm
                "clip_bound": 0.0,
                "layer_rates": {},  # layer -> factor on its learning rate
            },
            "loss": {
                # l1, mse, charbonnier, sum_of_squares or half_sum_of_squares of the pixels; vgg22
                # or vgg54, mse of VGG's features (SRGAN section 2.2.1).
                "name": "l1",
                "scale": 255.0,  # of the values in it: 255 for 0..255, 1 for 0..1
                # Weights file of a VGG-19; None: the VGG-16 that the extra `perceptual` brings.
                "vgg": placeholder(str),
            },
            "adversarial": {
                "weight": 0.0,  # of this term in the generator's loss; 0: no discriminator
                "n_feats": 64,  # width of the discriminator
            },
        }
    )


def model_fields(name: str, **hyperparameters: Any) -> ConfigDict:
    """The section `model`: an architecture by name, with all of its hyper-parameters spelt out."""
    fields = create_model(name, allow=(name,), **hyperparameters).hyperparameters
    return ConfigDict({"name": name} | {k: v for k, v in fields.items() if v is not None})


class Arguments(NamedTuple):
    """What stands behind a config's file name; None where nothing was said."""

    scale: int | None = None
    variant: str | None = None
    source: str | None = None
    path: str | None = None
    smoke: bool = False


def parse_arguments(
    text: str | None, *, scales: tuple[int, ...] = (), variants: tuple[str, ...] = ()
) -> Arguments:
    """Reads the arguments behind a config's file name, such as 'x2,baseline,photos'.

    Every recipe has `smoke` (see `cut_down`), with the `photos` unless a source is chosen.

    Args:
        text: words separated by commas, in any order; folder=PATH comes last, because PATH may hold
            commas itself (several folders).
        scales: the scales that the recipe has; x<scale> chooses one.
        variants: the words that choose a variant of it.

    Raises:
        ValueError: an unknown or contradictory argument; the message lists the known ones.
    """
    words: dict[str, tuple[str, str | int | bool]] = {}
    words.update({f"x{scale}": ("scale", scale) for scale in scales})
    words.update({variant: ("variant", variant) for variant in variants})
    words.update({source: ("source", source) for source in ("photos", "div2k")})
    words["smoke"] = ("smoke", True)
    before, has_folder, path = (text or "").partition("folder=")
    chosen: dict[str, Any] = {}
    for word in filter(None, before.split(",")):
        if word not in words:
            known = ", ".join([*words, "folder=PATH"])
            raise ValueError(f"unknown config argument {word!r}; known are {known}")
        kind, value = words[word]
        if kind in chosen or (has_folder and kind == "source"):
            raise ValueError(f"config arguments {text!r} choose the {kind} twice")
        chosen[kind] = value
    if has_folder:
        if not path:
            raise ValueError("config argument folder= needs a path: folder=PATH")
        chosen |= {"source": "folder", "path": path}
    if "smoke" in chosen:
        chosen.setdefault("source", "photos")
    return Arguments(**chosen)


def choose_data(config: ConfigDict, arguments: Arguments) -> None:
    """Puts the chosen source, if any, into a config."""
    if arguments.source:
        config.data.source = arguments.source
        config.data.path = arguments.path


def cut_down(
    config: ConfigDict,
    *,
    steps: int = 150,
    learning_rate: float = 2e-3,
    batch_size: int = 8,
    lr_patch_size: int = 24,
    **hyperparameters: Any,
) -> None:
    """Turns a recipe into its `smoke`: under a minute on 2 CPU cores, and it learns something.

    Network, batches and schedule shrink; the learning rate grows, and is lowered at the same shares
    of the steps. Optimiser, clipping and loss are the recipe's own.

    Args:
        config: is changed.
        steps: updates.
        learning_rate: a higher one than the recipe's: there is no time for a low one.
        batch_size, lr_patch_size: see `get_defaults`.
        **hyperparameters: of the network, those that make it small.
    """
    recipe_steps = config.train.steps
    config.model = model_fields(**{**config.model, **hyperparameters})
    config.data.batch_size = batch_size
    config.data.lr_patch_size = lr_patch_size
    config.train.steps = steps
    config.train.log_every = 10
    config.train.eval_every = config.train.checkpoint_every = steps // 2
    config.train.eval_images = 1
    rates = config.optimizer
    rates.learning_rate = learning_rate
    rates.decay_every = rates.decay_every * steps // recipe_steps
    rates.warmup = rates.warmup * steps // recipe_steps
    rates.cosine = rates.cosine * steps // recipe_steps
    rates.decay_at = tuple(step * steps // recipe_steps for step in rates.decay_at)
