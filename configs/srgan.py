"""SRGAN (Ledig et al., CVPR 2017): SRResNet x4, trained on against a discriminator.

    python -m sr_jax.main --config=configs/srresnet.py                # first, its starting point
    python -m sr_jax.main --config=configs/srgan.py                   # SRGAN-VGG54, DIV2K
    python -m sr_jax.main --config=configs/srgan.py:mse,photos        # from srresnet.py:photos

Arguments: x4, the only scale; vgg54 (default), vgg22, mse: what the content loss compares; photos,
div2k, folder=PATH; smoke.

The generator starts from the workdir that configs/srresnet.py leaves when given the same arguments,
less the content loss: runs/srresnet, runs/srresnet-photos, ...; --config.init_from=PATH names
another, and `none` none. `smoke` starts from scratch and therefore takes `mse` unless told
otherwise: a hundred steps on VGG's features alone make no image. To chain it:

    python -m sr_jax.main --config=configs/srresnet.py:smoke
    python -m sr_jax.main --config=configs/srgan.py:smoke --config.init_from=runs/srresnet-smoke

Recipe of the paper, section 3.2: HR patches of 96 x 96, batch 16; content loss plus 1e-3 times the
adversarial loss (equation 3); the content loss is the squared error of VGG-19's features after the
activation of conv5_4 (VGG54) or conv2_2 (VGG22), divided by 12.75, or that of the pixels on [-1, 1]
(MSE); Adam with b1 0.9, 100 000 updates at 1e-4 and 100 000 at 1e-5, both networks at each update.
Deviations: DIV2K instead of 350 000 images of ImageNet, in 8 symmetries; VGG-16 instead of VGG-19
unless loss.vgg names the weights of one.
"""

from ml_collections import ConfigDict

from sr_jax import configuration
from sr_jax.recipe import default_workdir

CONTENT_LOSSES = ("vgg54", "vgg22", "mse")


def get_config(arguments: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    chosen = configuration.parse_arguments(arguments, scales=(4,), variants=CONTENT_LOSSES)
    config = configuration.get_defaults()
    config.model = configuration.model_fields("srgan_generator")
    config.data.scales = (4,)
    config.data.lr_patch_size = 24
    config.train.steps = 200_000
    config.optimizer.decay_factor = 0.1
    config.optimizer.decay_at = (100_000,)
    config.loss.name = chosen.variant or ("mse" if chosen.smoke else "vgg54")
    config.loss.scale = 2.0 if config.loss.name == "mse" else 1 / 12.75
    config.adversarial.weight = 1e-3
    configuration.choose_data(config, chosen)
    if chosen.smoke:
        configuration.cut_down(
            config, steps=100, learning_rate=5e-3, lr_patch_size=12, n_resblocks=2, n_feats=16
        )
        config.adversarial.n_feats = 8
    else:
        config.init_from = default_workdir(f"srresnet:{_without_variant(arguments)}")
    return config.lock()


def _without_variant(arguments: str | None) -> str:
    words, folder, path = (arguments or "").partition("folder=")
    kept = [word for word in words.split(",") if word not in CONTENT_LOSSES]
    return ",".join(kept) + folder + path
