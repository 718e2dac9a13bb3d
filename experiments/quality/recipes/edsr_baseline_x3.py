"""EDSR-baseline, x3, from that of x2: short, as x4 had learned nearly all by update 2,000."""

from ml_collections import ConfigDict

from experiments.quality.modern import TEXTURED_SCALES, shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("edsr", "x3,baseline").unlock()
    config.init_from = "edsr_baseline_x2"
    return shorten(config, steps=5_000, rate=4e-4, patch=32, data=TEXTURED_SCALES)
