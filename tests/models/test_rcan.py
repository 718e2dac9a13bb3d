"""RCAN: the scales and the initialisation."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import filled

from sr_jax.models import create_model, forward


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_scales(scale):
    model = create_model("rcan", scale=scale, n_resgroups=1, n_resblocks=1, n_feats=4, reduction=2)
    x = jnp.zeros((1, 5, 4, 3))
    y = jax.eval_shape(functools.partial(forward, model, scale=scale), filled(model), x)
    assert y.shape == (1, 5 * scale, 4 * scale, 3)


def test_every_copy_is_initialised_by_itself_with_pytorchs_default():
    model = create_model("rcan", n_resgroups=2, n_resblocks=3, n_feats=16, reduction=4)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))["params"]
    kernels = np.asarray(params["body"]["blocks"]["conv_0"]["kernel"])
    assert kernels.shape == (2, 3, 3, 3, 16, 16)
    assert len({kernel.tobytes() for kernel in kernels.reshape(6, -1)}) == 6
    assert np.abs(kernels).max() <= 1 / np.sqrt(9 * 16)
    # The hidden layer of the attention has 4 channels: a fan-in of 4.
    bias = params["body"]["blocks"]["attention"]["conv_1"]["bias"]
    assert 0.4 < np.abs(bias).max() <= 0.5
