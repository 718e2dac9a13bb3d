"""EDSR of 8 blocks of 32 channels, x4, for photographs in JPEG, from that for clean images."""

from ml_collections import ConfigDict

from experiments.quality.modern import shorten, small_edsr


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = small_edsr(4)
    config.data.degradation = "photo"
    config.init_from = "edsr_small_x4"
    return shorten(config, steps=4_500, rate=7e-4, patch=32)
