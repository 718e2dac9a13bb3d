"""SRGAN, whose generator is srresnet_small_x4 and content loss of VGG-16."""

from ml_collections import ConfigDict

from experiments.quality.modern import TEXTURED_SCALES, shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("srgan", "vgg54").unlock()
    config.model.n_resblocks = 8
    config.model.n_feats = 32
    config.adversarial.n_feats = 32
    config.init_from = "srresnet_small_x4"
    return shorten(config, steps=2_000, rate=1e-4, patch=24, data=TEXTURED_SCALES)
