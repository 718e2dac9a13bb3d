"""EDSR of 8 blocks of 32 channels, x2: 0.2 M parameters, small and fast on CPUs."""

from ml_collections import ConfigDict

from experiments.quality.modern import shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("edsr", "x2,baseline").unlock()
    config.model.n_resblocks = 8
    config.model.n_feats = 32
    return shorten(config, steps=20_000, rate=1e-3)
