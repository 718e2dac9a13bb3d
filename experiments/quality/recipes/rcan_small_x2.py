"""RCAN of 3 groups of 4 blocks of 32 channels, x2."""

from ml_collections import ConfigDict

from experiments.quality.modern import TEXTURED_SCALES, shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("rcan", "x2").unlock()
    config.model.n_resgroups = 3
    config.model.n_resblocks = 4
    config.model.n_feats = 32
    config.model.reduction = 8
    return shorten(config, steps=7_000, rate=1e-3, patch=40, data=TEXTURED_SCALES)
