"""SRCNN 9-1-5, x4, on the 91 images of the paper."""

from ml_collections import ConfigDict

from experiments.quality.modern import T91, srcnn


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    return srcnn("915", 4, T91)
