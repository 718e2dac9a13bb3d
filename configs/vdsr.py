"""VDSR (Kim et al., CVPR 2016): twenty convolutions that add detail to an interpolated luma image.

    python -m sr_jax.main --config=configs/vdsr.py:folder=T91,BSDS200   # the paper's 291 images
    python -m sr_jax.main --config=configs/vdsr.py:photos
    python -m sr_jax.main --config=configs/vdsr.py:smoke                # a minute, no download

Arguments: folder=PATH, photos, div2k; smoke. One network serves x2, x3 and x4: every row of a batch
draws its own scale, so there is no scale argument.

Recipe of the paper, section 4.2 and 5.1: 41 x 41 patches, batch 64, half the squared error summed
over the patch, SGD with momentum 0.9 and weight decay 1e-4, learning rate 0.1 divided by 10 every
20 of 80 epochs (9960 updates in all, so every 2490), gradients clipped to +-theta / learning rate.
The paper does not publish theta: `optimizer.clip_bound` is ours. Deviation: patches are drawn at
random in 8 symmetries instead of cut on a grid.
"""

from ml_collections import ConfigDict

from sr_jax import configuration


def get_config(arguments: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    chosen = configuration.parse_arguments(arguments)
    config = configuration.get_defaults()
    config.model = configuration.model_fields("vdsr")
    config.data.source = "folder"
    config.data.scales = (2, 3, 4)
    config.data.lr_patch_size = 41
    config.data.batch_size = 64
    config.train.steps = 9960
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.1
    config.optimizer.decay_factor = 0.1
    config.optimizer.decay_every = 2490
    config.optimizer.weight_decay = 1e-4
    config.optimizer.clip = "adjustable"
    config.optimizer.clip_bound = 3e-5  # experiments/vdsr_clipping
    config.loss.name = "half_sum_of_squares"
    config.loss.scale = 1.0
    configuration.choose_data(config, chosen)
    if chosen.smoke:
        configuration.cut_down(config, learning_rate=0.1, lr_patch_size=41, depth=6, n_feats=16)
    return config.lock()
