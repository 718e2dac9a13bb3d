"""MDSR (Lim et al., CVPR Workshops 2017): one network for x2, x3 and x4, 80 residual blocks.

    python -m sr_jax.main --config=configs/mdsr.py                    # DIV2K
    python -m sr_jax.main --config=configs/mdsr.py:baseline,photos
    python -m sr_jax.main --config=configs/mdsr.py:smoke              # under a minute, no download

Arguments: baseline (16 blocks); photos, div2k, folder=PATH; smoke. One network serves x2, x3 and
x4: every batch draws its scale, so there is no scale argument.

Recipe of the paper, section 4.2: DIV2K, LR patches of 48 x 48 at every scale, batch 16, 8
symmetries, one scale a batch, whose branches alone are updated, L1 on 0..255, Adam (0.9, 0.999,
1e-8), learning rate 1e-4 halved every 200 000 updates. The paper does not say how many updates:
650 000, as the official code.
"""

from ml_collections import ConfigDict

from sr_jax import configuration


def get_config(arguments: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    chosen = configuration.parse_arguments(arguments, variants=("baseline",))
    config = configuration.get_defaults()
    config.model = configuration.model_fields(
        f"mdsr_{chosen.variant}" if chosen.variant else "mdsr"
    )
    config.data.scales = config.model.scales
    config.train.steps = 650_000
    config.optimizer.decay_every = 200_000
    configuration.choose_data(config, chosen)
    if chosen.smoke:
        configuration.cut_down(config, n_resblocks=2, n_feats=16)
    return config.lock()
