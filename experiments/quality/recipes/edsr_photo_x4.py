"""EDSR of 8 blocks of 32 channels, x4, for photographs in JPEG, from that for clean images."""

from ml_collections import ConfigDict

from experiments.quality.modern import shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("edsr", "x4,baseline").unlock()
    config.model.n_resblocks = 8
    config.model.n_feats = 32
    config.data.degradation = "photo"
    config.init_from = "edsr_small_x4"
    return shorten(config, steps=4_500, rate=7e-4, patch=32)
