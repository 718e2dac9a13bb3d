"""RCAN (Zhang et al., ECCV 2018): 10 groups of 20 residual blocks with channel attention.

    python -m sr_jax.main --config=configs/rcan.py                    # x2, DIV2K
    python -m sr_jax.main --config=configs/rcan.py:x4 --config.init_from=runs/rcan
    python -m sr_jax.main --config=configs/rcan.py:smoke              # under a minute, no download

Arguments: x2 (default), x3, x4, x8; photos, div2k, folder=PATH; smoke.
Start x3, x4 and x8 from the trained x2 network, as the authors do: --config.init_from names its
workdir, runs/rcan, or runs/rcan-x2 where the argument was given.

Recipe of the paper, section 4.1: DIV2K, LR patches of 48 x 48, batch 16, 8 symmetries, L1 on
0..255, Adam (0.9, 0.999, 1e-8), learning rate 1e-4 halved every 200 000 updates. The paper does not
say how many updates: 1 000 000, as the official code.
"""

from ml_collections import ConfigDict

from sr_jax import configuration


def get_config(arguments: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    chosen = configuration.parse_arguments(arguments, scales=(2, 3, 4, 8))
    scale = chosen.scale or 2
    config = configuration.get_defaults()
    config.model = configuration.model_fields("rcan", scale=scale)
    config.data.scales = (scale,)
    config.train.steps = 1_000_000
    config.optimizer.decay_every = 200_000
    configuration.choose_data(config, chosen)
    if chosen.smoke:
        configuration.cut_down(config, n_resgroups=2, n_resblocks=2, n_feats=16, reduction=4)
    return config.lock()
