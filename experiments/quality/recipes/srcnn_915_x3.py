"""SRCNN 9-1-5, x3, on the 91 images of the paper."""

from ml_collections import ConfigDict

from experiments.quality.modern import T91, shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("srcnn", "x3,915").unlock()
    config.model.padding = "replicate"
    config.loss.name = "mse"
    config.loss.scale = 255.0
    config.optimizer.layer_rates = {}
    return shorten(config, steps=60_000, rate=1e-3, batch=8, patch=48, data=T91)
