"""MDSR: three scales in one network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import filled

from sr_jax.models import check_call, create_model, forward


def test_one_set_of_variables_serves_every_scale():
    model = create_model("mdsr", n_resblocks=2, n_feats=4)
    x = jax.random.uniform(jax.random.key(1), (1, 5, 4, 3))
    variables = filled(model)
    for scale in (2, 3, 4):
        again = jax.eval_shape(functools.partial(model.init, scale=scale), jax.random.key(0), x)
        assert jax.tree.structure(again) == jax.tree.structure(variables)
        y = jax.eval_shape(functools.partial(forward, model, scale=scale), variables, x)
        assert y.shape == (1, 5 * scale, 4 * scale, 3)


def test_other_scales_get_no_gradient():
    model = create_model("mdsr", n_resblocks=1, n_feats=4)
    x = jax.random.uniform(jax.random.key(1), (1, 5, 4, 3))
    variables = filled(model)
    grads = jax.jit(jax.grad(lambda v: model.apply(v, x, scale=3).sum()))(variables)["params"]
    for name, branch in grads.items():
        used = any(np.any(leaf) for leaf in jax.tree.leaves(branch))
        assert used == (not name.endswith(("_x2", "_x4"))), name


@pytest.mark.parametrize("scale", [None, 8])
def test_a_scale_has_to_be_named(scale):
    model = create_model("mdsr", n_resblocks=1, n_feats=4)
    x = jnp.zeros((1, 5, 4, 3))
    variables = filled(model)
    message = f"upscales by 2, 3, 4: say by which with `scale`; given {scale}"
    with pytest.raises(ValueError, match=message):
        forward(model, variables, x, scale=scale)
    with pytest.raises(ValueError, match=message):
        model.apply(variables, x, scale=scale)
    with pytest.raises(ValueError, match=message):
        check_call(model, x.shape, x.dtype, scale)
