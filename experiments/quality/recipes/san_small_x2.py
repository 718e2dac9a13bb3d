"""SAN of 3 groups of 3 blocks of 32 channels, x2."""

from ml_collections import ConfigDict

from experiments.quality.modern import TEXTURED_SCALES, shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("san", "x2").unlock()
    config.model.n_resgroups = 3
    config.model.n_resblocks = 3
    config.model.n_feats = 32
    config.model.reduction = 8
    config.optimizer.b2 = 0.999
    return shorten(config, steps=5_000, rate=5e-4, patch=40, data=TEXTURED_SCALES)
