"""RCAN: the scales, initialisation, the cost of its depth."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sr_jax.models import create_model, forward
from sr_jax.weights import variable_shapes


def filled(model):
    """All variables 0.1: enough for shapes, and quicker than drawing them."""
    return jax.tree.map(lambda s: jnp.full(s.shape, 0.1, s.dtype), variable_shapes(model))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_scales(scale):
    model = create_model("rcan", scale=scale, n_resgroups=1, n_resblocks=1, n_feats=4, reduction=2)
    x = jnp.zeros((1, 5, 4, 3))
    y = forward(model, filled(model), x, scale=scale)
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


def test_compile_time_does_not_grow_with_depth():
    def seconds(n_resgroups: int, n_resblocks: int) -> float:
        model = create_model(
            "rcan", n_resgroups=n_resgroups, n_resblocks=n_resblocks, n_feats=8, reduction=2
        )
        x = jnp.zeros((1, 8, 8, 3))
        variables = jax.eval_shape(model.init, jax.random.key(0), x)
        start = time.process_time()
        jax.jit(jax.grad(lambda v: model.apply(v, x).sum())).lower(variables).compile()
        return time.process_time() - start

    seconds(5, 5)  # imports and caches
    assert seconds(20, 40) < 2 * seconds(5, 10)
