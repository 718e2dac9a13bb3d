"""EDSR-baseline, x2: 16 blocks of 64 channels."""

from ml_collections import ConfigDict

from experiments.quality.modern import shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("edsr", "x2,baseline")
    return shorten(config, steps=15_000, rate=5e-4, patch=40)
