"""SRGAN-MSE, from srresnet_small_x4; ../README.md tells why it does not ship.

From an earlier srresnet_small_x4, with the losses on VGG's features, the PSNR of the patches fell
within 400 updates from 21 dB to 14 (vgg54) and 18 (vgg22). The latter, after 2,000 updates, gave
images with false colours and a pattern of pixels, and 22.07 dB of the validation images, where
bicubic interpolation gives 25.06 (by hand, 2026-11-29).
"""

from ml_collections import ConfigDict

from experiments.quality.modern import TEXTURED_SCALES, shorten
from sr_jax import configuration


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = configuration.load_recipe("srgan", "mse").unlock()
    config.model.n_resblocks = 8
    config.model.n_feats = 32
    config.adversarial.n_feats = 32
    config.init_from = "srresnet_small_x4"
    return shorten(config, steps=2_000, rate=1e-4, patch=24, data=TEXTURED_SCALES)
