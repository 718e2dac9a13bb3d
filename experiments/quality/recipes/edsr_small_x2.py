"""A small EDSR for CPUs, x2: 8 blocks of 32 channels, 0.2 M parameters, to ship.

Not the paper's recipe, which is made for days on a GPU: a higher rate with warm-up and a cosine,
and the average of the parameters is what is kept. Photographs with free licences; ten of them
validate.
"""

from ml_collections import ConfigDict

from sr_jax import configuration

STEPS = 60_000


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("edsr", "x2,baseline").unlock()
    config.model.n_resblocks = 8
    config.model.n_feats = 32
    config.data.source = "folder"
    config.data.path = "../shared/data/train/photos"
    config.data.placement = "device"
    config.train.steps = STEPS
    config.train.ema = 0.999
    config.train.log_every = 200
    config.train.eval_every = config.train.checkpoint_every = 2000
    config.train.keep_checkpoints = 1
    config.optimizer.learning_rate = 1e-3
    config.optimizer.decay_every = 0
    config.optimizer.warmup = 500
    config.optimizer.cosine = STEPS
    return config.lock()
