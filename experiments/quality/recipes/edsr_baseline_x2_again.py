"""EDSR-baseline, x2, once more from where edsr_baseline_x2 ended, on patches with more texture."""

from ml_collections import ConfigDict

from experiments.quality.modern import TEXTURED_PHOTOS, shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("edsr", "x2,baseline").unlock()
    config.init_from = "edsr_baseline_x2"
    return shorten(config, steps=13_000, rate=4e-4, data=TEXTURED_PHOTOS)
