"""VDSR once more from where vdsr ended.

python -m experiments.quality.ship vdsr_again --after vdsr --as vdsr
"""

from ml_collections import ConfigDict

from experiments.quality.modern import BSDS199, T91, shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("vdsr").unlock()
    config.init_from = "experiments/quality/weights/vdsr.safetensors"
    config.loss.name = "mse"
    config.loss.scale = 255.0
    return shorten(config, steps=20_000, rate=5e-4, batch=16, patch=41, data=f"{T91},{BSDS199}")
