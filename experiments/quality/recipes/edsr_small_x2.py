"""EDSR of 8 blocks of 32 channels, x2: 0.2 M parameters, small and fast on CPUs."""

from ml_collections import ConfigDict

from experiments.quality.modern import shorten, small_edsr


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    return shorten(small_edsr(2), steps=20_000, rate=1e-3)
