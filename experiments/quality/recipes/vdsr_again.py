"""VDSR once more from where vdsr ended, on patches with more texture."""

from ml_collections import ConfigDict

from experiments.quality.modern import TEXTURED_290, vdsr


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = vdsr(TEXTURED_290, steps=16_000).unlock()
    config.init_from = "experiments/quality/weights/vdsr.safetensors"
    return config.lock()
