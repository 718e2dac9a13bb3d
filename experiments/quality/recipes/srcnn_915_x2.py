"""SRCNN 9-1-5, x2, on the 91 images of the paper."""

from ml_collections import ConfigDict

from experiments.quality.modern import T91, shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("srcnn", "x2,915").unlock()
    config.model.padding = "replicate"
    config.loss.name = "mse"
    config.loss.scale = 255.0
    config.optimizer.layer_rates = {}
    config.init_from = "experiments/quality/weights/srcnn_915_x3.safetensors"
    return shorten(config, steps=30_000, rate=1e-3, batch=8, patch=48, data=T91)
