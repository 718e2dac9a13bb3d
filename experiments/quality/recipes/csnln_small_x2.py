"""CSNLN that recurs 3 times, of 32 channels, x2.

It ships by `python -m experiments.quality.ship csnln_small_x2 --tile 48`.
"""

from ml_collections import ConfigDict

from experiments.quality.modern import TEXTURED_CROPS, shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("csnln", "x2").unlock()
    config.model.depth = 3
    config.model.n_feats = 32
    config.loss.scale = 255.0
    return shorten(config, steps=4_000, rate=5e-4, patch=24, data=TEXTURED_CROPS)
