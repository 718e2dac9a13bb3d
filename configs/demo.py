"""A small EDSR (8 blocks of 32 channels), x2, on the embedded photos: what `make demo` trains.

    python -m sr_jax.main --config=configs/demo.py --workdir=runs/demo
    python -m sr_jax.main --config=configs/demo.py:folder=PATH        # on images of your own

Under 4 minutes on 2 CPU cores. The recipe is EDSR's with a shorter schedule and a higher rate.
"""

from ml_collections import ConfigDict

from sr_jax import configuration


def get_config(arguments: str | None = None) -> ConfigDict:
    """The recipe; its arguments are photos (default), div2k or folder=PATH."""
    chosen = configuration.parse_arguments(arguments)
    config = configuration.load_recipe("edsr", "x2,baseline,photos").unlock()
    configuration.choose_data(config, chosen)
    config.model.n_resblocks = 8
    config.model.n_feats = 32
    config.data.lr_patch_size = 32
    config.train.steps = 800
    config.train.eval_every = 400
    config.train.checkpoint_every = 200
    config.optimizer.learning_rate = 1e-3
    config.optimizer.decay_every = 0
    config.optimizer.decay_at = (400, 600, 720)
    if chosen.smoke:
        configuration.cut_down(config, n_resblocks=2, n_feats=16)
    return config.lock()
