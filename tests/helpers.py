"""What several test files build."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sr_jax.models.network import Network
from sr_jax.weights import variable_shapes

Shared = Callable[[str], Path]


def filled(model: Network) -> Any:
    """All variables 0.1: enough for shapes, and quicker than drawing them."""
    return jax.tree.map(lambda s: np.full(s.shape, 0.1, s.dtype), variable_shapes(model))


def random_variables(model: Network, scale: float) -> Any:
    """Normal values of this standard deviation: parameters that start as zeros matter too."""
    rng = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        return rng.normal(scale=scale, size=leaf.shape).astype(leaf.dtype)

    return jax.tree.map(draw, variable_shapes(model))


def assert_same_gradients(
    actual: Callable, expected: Callable, *operands: Any, tolerance: float
) -> None:
    """Two functions have the same values and the same gradients by all operands.

    The cotangents are random: of ones they would hide what differs from pixel to pixel.
    """

    def value_and_gradients(function: Callable) -> Any:
        def run(cotangents: Any, *operands: Any) -> Any:
            values, pullback = jax.vjp(function, *operands)
            return values, pullback(cotangents)

        return jax.jit(run)(cotangents, *operands)

    rng = np.random.default_rng(1)
    values = jax.eval_shape(expected, *operands)
    cotangents = jax.tree.map(lambda x: rng.normal(size=x.shape), values)
    ours, theirs = value_and_gradients(actual), value_and_gradients(expected)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
