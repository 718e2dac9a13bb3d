"""EDSR (Lim et al., CVPR Workshops 2017): 32 residual blocks of 256 channels, or the baseline.

    python -m sr_jax.main --config=configs/edsr.py                    # x2, DIV2K
    python -m sr_jax.main --config=configs/edsr.py:x4,baseline,photos
    python -m sr_jax.main --config=configs/edsr.py:smoke              # under a minute, no download

Arguments: x2 (default), x3, x4; baseline (16 blocks of 64 channels); photos, div2k, folder=PATH;
smoke.
Start x3 and x4 from the trained x2 network, as the paper does: --config.init_from=runs/edsr-x2.

Recipe of the paper, section 4.2: DIV2K, LR patches of 48 x 48, batch 16, 8 symmetries, L1 on
0..255, Adam (0.9, 0.999, 1e-8), learning rate 1e-4 halved every 200 000 updates, 300 000 updates
(as the official code: the rate is halved once).
"""

from ml_collections import ConfigDict

from sr_jax import configuration


def get_config(arguments: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    chosen = configuration.parse_arguments(arguments, scales=(2, 3, 4), variants=("baseline",))
    scale = chosen.scale or 2
    config = configuration.get_defaults()
    name = f"edsr_{chosen.variant}" if chosen.variant else "edsr"
    config.model = configuration.model_fields(name, scale=scale)
    config.data.scales = (scale,)
    config.optimizer.decay_every = 200_000
    configuration.choose_data(config, chosen)
    if chosen.smoke:
        configuration.cut_down(config, n_resblocks=4, n_feats=16)
    return config.lock()
