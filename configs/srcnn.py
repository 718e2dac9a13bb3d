"""SRCNN (Dong et al., ECCV 2014; TPAMI 2016): three convolutions on an interpolated luma image.

    python -m sr_jax.main --config=configs/srcnn.py:x3,folder=T91     # 9-1-5, the paper's 91 images
    python -m sr_jax.main --config=configs/srcnn.py:x2,955,photos
    python -m sr_jax.main --config=configs/srcnn.py:smoke             # under a minute, no download

Arguments: x2 (default), x3, x4; 915 (default), 935, 955; folder=PATH, photos, div2k; smoke.

Recipe of the paper, TPAMI section 3.3 and 4: 33 x 33 patches of the 91 images of Yang et al.
(default source `folder`, whose path must be given), no padding while training, squared error on
[0, 1] summed over the patch (equation 4; with a mean over pixels these rates would not move the
weights), SGD with momentum 0.9, batch 128, learning rate 1e-4 for the first two layers and 1e-5 for
the last, weights from N(0, 0.001). Deviations: patches are drawn at random in 8 symmetries
instead of cut on a grid of stride 14; and the paper's 8e8 back-propagations are 6.25e6 updates.
With these tiny weights the first updates move the last bias alone: `smoke` gets no further than the
mean grey.
"""

from ml_collections import ConfigDict

from sr_jax import configuration


def get_config(arguments: str | None = None) -> ConfigDict:
    """The recipe; see the module's docstring for its arguments."""
    chosen = configuration.parse_arguments(
        arguments, scales=(2, 3, 4), variants=("915", "935", "955")
    )
    scale = chosen.scale or 2
    config = configuration.get_defaults()
    name = f"srcnn_{chosen.variant or '915'}"
    config.model = configuration.model_fields(name, scale=scale, padding="valid")
    config.data.source = "folder"
    config.data.scales = (scale,)
    config.data.lr_patch_size = 33
    config.data.batch_size = 128
    config.train.steps = 6_250_000
    config.train.log_every = 1000
    config.train.eval_every = config.train.checkpoint_every = 10_000
    config.optimizer.name = "sgd"
    config.optimizer.layer_rates.conv_2 = 0.1
    config.loss.name = "sum_of_squares"
    config.loss.scale = 1.0
    configuration.choose_data(config, chosen)
    if chosen.smoke:
        configuration.cut_down(config, learning_rate=1e-4, batch_size=32, lr_patch_size=33)
    return config.lock()
