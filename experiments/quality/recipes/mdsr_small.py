"""MDSR of 8 blocks of 32 channels, x2, x3 and x4."""

from ml_collections import ConfigDict

from experiments.quality.modern import TEXTURED_SCALES, shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("mdsr", "baseline").unlock()
    config.model.n_resblocks = 8
    config.model.n_feats = 32
    return shorten(config, steps=9_000, rate=1e-3, patch=32, data=TEXTURED_SCALES)
