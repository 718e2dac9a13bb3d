"""A recipe for few hours: not the papers', which are made for days on a GPU."""

from ml_collections import ConfigDict

from sr_jax import configuration

TRAIN = "../shared/data/train"
PHOTOS = f"{TRAIN}/photos"  # with free licences
T91 = f"{TRAIN}/T91"  # those of the papers
# Without 302003, which is `woman` of Set5, larger (results/overlap.md). The papers trained on it.
BSDS199 = "runs/quality/BSDS199"
# Where there is most to learn: in the photographs, in these and reduced ones, in the same with
# squares that validate, and in the 290 with reduced ones. All are made by prepare.py.
TEXTURED_PHOTOS = "runs/quality/textured"
TEXTURED_SCALES = "runs/quality/textured_scales"
TEXTURED_CROPS = "runs/quality/textured_crops"
TEXTURED_290 = "runs/quality/textured_290"
START = "runs/quality/{}_start.safetensors"


def shorten(
    config: ConfigDict,
    *,
    steps: int,
    rate: float,
    batch: int = 8,
    patch: int = 48,
    data: str = PHOTOS,
) -> ConfigDict:
    """Few updates at a high rate, with warm-up and a cosine.

    The average of the parameters over the last thousand updates or so is what is validated and
    kept. Ten images of each folder validate.

    Args:
        config: a recipe; is changed.
        steps: updates.
        rate: the highest learning rate.
        batch: patches of an update.
        patch: their side, in pixels at the network's input.
        data: folders, separated by commas.
    """
    config.unlock()
    config.data.source = "folder"
    config.data.path = data
    config.data.placement = "device"
    config.data.batch_size = batch
    config.data.lr_patch_size = patch
    config.train.steps = steps
    config.train.ema = 0.999
    config.train.log_every = 200
    config.train.eval_every = config.train.checkpoint_every = 2000
    config.train.keep_checkpoints = 1
    rates = config.optimizer
    rates.name = "adam"
    rates.learning_rate = rate
    rates.decay_every, rates.decay_at, rates.weight_decay = 0, (), 0.0
    rates.clip, rates.clip_bound = "none", 0.0
    rates.warmup = 500
    rates.cosine = steps
    return config.lock()


def srcnn(kernels: str, scale: int, data: str) -> ConfigDict:
    """SRCNN of these kernel sizes, such as '955': x3 from the identity, x2 and x4 from that."""
    config = configuration.load_recipe("srcnn", f"x{scale},{kernels}").unlock()
    config.model.padding = "replicate"
    config.loss.name = "mse"
    config.loss.scale = 255.0
    config.optimizer.layer_rates = {}
    before = f"experiments/quality/weights/srcnn_{kernels}_x3.safetensors"
    config.init_from = START.format(f"srcnn_{kernels}") if scale == 3 else before
    return shorten(config, steps=45_000 if scale == 3 else 25_000, rate=5e-4, data=data)


def vdsr(data: str = f"{T91},{BSDS199}", steps: int = 20_000) -> ConfigDict:
    """VDSR on 290 of the 291 images of the paper."""
    config = configuration.load_recipe("vdsr").unlock()
    config.loss.name = "mse"
    config.loss.scale = 255.0
    return shorten(config, steps=steps, rate=5e-4, batch=16, patch=41, data=data)


def small_edsr(scale: int) -> ConfigDict:
    """EDSR of 8 blocks of 32 channels, to be shortened."""
    config = configuration.load_recipe("edsr", f"x{scale},baseline").unlock()
    config.model.n_resblocks = 8
    config.model.n_feats = 32
    return config
