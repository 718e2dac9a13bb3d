"""SRGAN, from srresnet_small_x4, with the paper's content loss of a low layer, on VGG-16.

With that of a high layer (vgg54) the PSNR of the patches fell from 21 to 14 dB in 400 updates (by
hand, 2026-11-29).
"""

from ml_collections import ConfigDict

from experiments.quality.modern import TEXTURED_SCALES, shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("srgan", "vgg22").unlock()
    config.model.n_resblocks = 8
    config.model.n_feats = 32
    config.adversarial.n_feats = 32
    config.init_from = "srresnet_small_x4"
    return shorten(config, steps=2_000, rate=1e-4, patch=24, data=TEXTURED_SCALES)
