"""Activations whose form is our own."""

import jax
import jax.numpy as jnp
import numpy as np

from sr_jax.ops import activations


def test_relu_and_its_gradient_are_the_usual_ones():
    x = jnp.array([-1.0, -0.0, 0.0, 2.0])
    for function in (lambda f: f(x), lambda f: jax.vjp(f, x)[1](3 * jnp.ones(4))[0]):
        np.testing.assert_array_equal(function(activations.relu), function(jax.nn.relu))
