"""What `make demo` trains: a small EDSR (8 blocks of 32 channels), x2, on the embedded photos.

    python -m sr_jax.main --config=configs/demo.py --workdir=runs/demo

Under 4 minutes on 2 CPU cores. The recipe is EDSR's with a shorter schedule and a higher rate.
"""

from ml_collections import ConfigDict

from configs import edsr


def get_config() -> ConfigDict:
    """The recipe; it takes no arguments."""
    config = edsr.get_config("x2,baseline,photos").unlock()
    config.model.n_resblocks = 8
    config.model.n_feats = 32
    config.data.lr_patch_size = 32
    config.train.steps = 800
    config.train.eval_every = 400
    config.train.checkpoint_every = 200
    config.optimizer.learning_rate = 1e-3
    config.optimizer.decay_every = 0
    config.optimizer.decay_at = (400, 600, 720)
    return config.lock()
