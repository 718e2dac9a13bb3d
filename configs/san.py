"""SAN (Dai et al., CVPR 2019): 20 groups of 10 residual blocks with second-order attention.

    python -m sr_jax.main --config=configs/san.py                     # x2, DIV2K
    python -m sr_jax.main --config=configs/san.py:x4,photos
    python -m sr_jax.main --config=configs/san.py:smoke               # under a minute, no download

Arguments: x2 (default), x3, x4, x8; photos, div2k, folder=PATH; smoke.

Recipe of the paper, section 4.1: DIV2K, LR patches of 48 x 48, batch 8, 8 symmetries, L1 on
0..255, Adam (0.9, 0.99, 1e-8), learning rate 1e-4 halved every 200 epochs (of 1000 updates), every
scale from scratch. How many updates is ours: 1 000 000, as RCAN. The official code has other
defaults: for training, batch 16, b2 0.99 and a learning rate times 0.6 every 50 of 3000 epochs;
beside its test code, 200 epochs, halving and b2 0.999. Which of them made the published weights is
not known.
"""

from ml_collections import ConfigDict

from sr_jax import configuration


def get_config(arguments: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    chosen = configuration.parse_arguments(arguments, scales=(2, 3, 4, 8))
    scale = chosen.scale or 2
    config = configuration.get_defaults()
    config.model = configuration.model_fields("san", scale=scale)
    config.data.scales = (scale,)
    config.data.batch_size = 8
    config.train.steps = 1_000_000
    config.optimizer.b2 = 0.99
    config.optimizer.decay_every = 200_000
    configuration.choose_data(config, chosen)
    if chosen.smoke:
        configuration.cut_down(config, n_resgroups=2, n_resblocks=2, n_feats=16, reduction=4)
    return config.lock()
