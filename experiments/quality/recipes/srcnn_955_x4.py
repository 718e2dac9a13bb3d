"""SRCNN 9-5-5, x4, on 290 images, where the paper has ImageNet."""

from ml_collections import ConfigDict

from experiments.quality.modern import BSDS199, T91, srcnn


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    return srcnn("955", 4, f"{T91},{BSDS199}")
