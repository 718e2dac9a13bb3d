"""SRResNet of 8 blocks of 32 channels, x4."""

from ml_collections import ConfigDict

from experiments.quality.modern import START, TEXTURED_SCALES, shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("srresnet", "x4").unlock()
    config.model.n_resblocks = 8
    config.model.n_feats = 32
    config.loss.name = "l1"
    config.loss.scale = 255.0
    config.init_from = START.format("srresnet")
    return shorten(config, steps=7_000, rate=1e-3, patch=32, data=TEXTURED_SCALES)
