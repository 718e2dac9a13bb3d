"""VDSR, x2, x3 and x4 in one network, on 290 of the 291 images of the paper."""

from ml_collections import ConfigDict

from experiments.quality.modern import BSDS199, T91, shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("vdsr").unlock()
    config.loss.name = "mse"
    config.loss.scale = 255.0
    return shorten(config, steps=20_000, rate=5e-4, batch=16, patch=41, data=f"{T91},{BSDS199}")
