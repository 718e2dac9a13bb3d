"""VDSR, x2, x3 and x4 in one network, on 290 of the 291 images of the paper."""

from ml_collections import ConfigDict

from experiments.quality.modern import vdsr


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    return vdsr()
