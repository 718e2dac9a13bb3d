"""SRCNN 9-5-5, x4, on 290 images, where the paper has ImageNet."""

from ml_collections import ConfigDict

from experiments.quality.modern import BSDS199, T91, shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("srcnn", "x4,955").unlock()
    config.model.padding = "replicate"
    config.loss.name = "mse"
    config.loss.scale = 255.0
    config.optimizer.layer_rates = {}
    config.init_from = "experiments/quality/weights/srcnn_955_x3.safetensors"
    return shorten(config, steps=30_000, rate=1e-3, batch=8, patch=48, data=f"{T91},{BSDS199}")
