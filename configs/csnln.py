"""CSNLN (Mei et al., CVPR 2020): cross-scale and in-scale attention, recurring 12 times.

    python -m sr_jax.main --config=configs/csnln.py                   # x2, DIV2K
    python -m sr_jax.main --config=configs/csnln.py:x4,photos
    python -m sr_jax.main --config=configs/csnln.py:smoke             # under a minute, no download

Arguments: x2 (default), x3, x4; photos, div2k, folder=PATH; smoke.

Recipe of the official code: DIV2K, LR patches of 48 x 48, batch 16, 8 symmetries, L1 on 0..1, Adam
(0.9, 0.999, 1e-8), learning rate 1e-4 halved once, after 200 000 updates, of 1 000 000, every scale
from scratch. Attention is over the whole patch or image: a training step takes much memory
(train.remat and train.accumulate lessen it), and validation much time.
"""

from ml_collections import ConfigDict

from sr_jax import configuration


def get_config(arguments: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    chosen = configuration.parse_arguments(arguments, scales=(2, 3, 4))
    scale = chosen.scale or 2
    config = configuration.get_defaults()
    config.model = configuration.model_fields("csnln", scale=scale)
    config.data.scales = (scale,)
    config.train.steps = 1_000_000
    config.optimizer.decay_at = (200_000,)
    config.loss.scale = 1.0
    configuration.choose_data(config, chosen)
    if chosen.smoke:
        small = 24 if scale == 2 else 12  # attention grows with the fourth power of the side
        configuration.cut_down(config, steps=100, lr_patch_size=small, depth=1, n_feats=8)
        config.train.eval_every = config.train.steps  # a whole image takes as long as all steps
    return config.lock()
