"""Trains a small EDSR (x2) on the embedded photographs, for so many steps:

python examples/own_loop.py weights.safetensors 200
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

import sr_jax
from sr_jax.data import sources

SIDE, BATCH = 24, 8  # of the patches at the network's input
result, steps = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
pairs = [photo.pair(2) for photo in sources.load("photos", "train", scales=(2,))]
model = sr_jax.create_model("edsr_baseline", scale=2, n_resblocks=4, n_feats=16)
rest = dict(model.init(jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 3))))
params = rest.pop("params")  # the rest is not trained
optimizer = optax.adam(1e-3)
state = optimizer.init(params)


def draw():
    """A low-resolution patch and the high-resolution one that it covers, in [0, 1]."""
    lr, hr = pairs[rng.integers(len(pairs))]
    y, x = (rng.integers(side - SIDE + 1) for side in lr.shape[:2])
    return lr[y:, x:][:SIDE, :SIDE] / 255, hr[2 * y :, 2 * x :][: 2 * SIDE, : 2 * SIDE] / 255


@jax.jit
def update(params, state, lr, hr):
    def loss(params):
        return jnp.abs(model.apply({"params": params, **rest}, lr, train=True) - hr).mean()

    value, gradient = jax.value_and_grad(loss)(params)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, updates), state, value


for step in range(steps):
    drawn = [draw() for _ in range(BATCH)]
    lr, hr = (np.stack(patches).astype(np.float32) for patches in zip(*drawn, strict=True))
    params, state, value = update(params, state, lr, hr)
    if step % 20 == 0:
        print(f"{step}: {value:.4f}")
sr_jax.save(result, model, {"params": params, **rest})
