"""EDSR of 8 blocks of 32 channels, x4, from that of x2."""

from ml_collections import ConfigDict

from experiments.quality.modern import shorten, small_edsr


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = small_edsr(4)
    config.init_from = "edsr_small_x2"
    return shorten(config, steps=6_000, rate=7e-4, patch=32)
