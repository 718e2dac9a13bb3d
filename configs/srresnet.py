"""SRResNet (Ledig et al., CVPR 2017): 16 residual blocks with batch normalisation, squared error.

    python -m sr_jax.main --config=configs/srresnet.py                # x4, DIV2K
    python -m sr_jax.main --config=configs/srresnet.py:x2,photos
    python -m sr_jax.main --config=configs/srresnet.py:smoke          # under a minute, no download

Arguments: x4 (default), x2, x8, x3; photos, div2k, folder=PATH; smoke.

Recipe of the paper, section 3.2: HR patches of 96 x 96, batch 16, mean squared error (equation 4)
on [-1, 1], where it is 4 times that on [0, 1], Adam with b1 0.9, learning rate 1e-4 without decay,
1 000 000 updates. Deviations: DIV2K instead of 350 000 images of ImageNet (folder=PATH takes
those); patches are drawn in 8 symmetries; the paper's network is x4 alone.
"""

from ml_collections import ConfigDict

from sr_jax import configuration


def get_config(arguments: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    chosen = configuration.parse_arguments(arguments, scales=(2, 3, 4, 8))
    scale = chosen.scale or 4
    config = configuration.get_defaults()
    config.model = configuration.model_fields("srresnet", scale=scale)
    config.data.scales = (scale,)
    config.data.lr_patch_size = 96 // scale
    config.train.steps = 1_000_000
    config.loss.name = "mse"
    config.loss.scale = 2.0
    configuration.choose_data(config, chosen)
    if chosen.smoke:
        small = 48 // scale
        configuration.cut_down(
            config, learning_rate=5e-3, lr_patch_size=small, n_resblocks=2, n_feats=16
        )
    return config.lock()
