"""Networks and photographs that the tests of inference share."""

from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

from sr_jax.imaging.resize import imresize
from sr_jax.inference import cost
from sr_jax.models import Variables, create_model, example_images


def _network(name: str, **hyperparameters: Any) -> tuple[nn.Module, Variables]:
    model = create_model(name, **hyperparameters)
    shapes = jax.eval_shape(model.init, jax.random.key(0), example_images(model))
    rng = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if leaf.ndim < 4:  # biases, slopes, statistics
            return rng.uniform(0.05, 0.1, leaf.shape).astype(leaf.dtype)
        bound = 1 / np.sqrt(np.prod(leaf.shape[-4:-1]))
        return rng.uniform(-bound, bound, leaf.shape).astype(leaf.dtype)

    return model, jax.tree.map(draw, shapes)


def _photo(height: int, width: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(1)
    coarse = imresize(rng.random((6, 6, channels)), size=(height, width))
    return np.clip(coarse + 0.1 * rng.standard_normal((height, width, channels)), 0, 1)


@pytest.fixture(scope="session")
def network():
    """`network(name, **hyperparameters)`: model and variables, drawn without compiling."""
    return _network


@pytest.fixture(scope="session")
def photo():
    """`photo(height, width, channels=3)`: smooth colour with noise, float64 in [0, 1]."""
    return _photo


@pytest.fixture
def memory(monkeypatch):
    """`memory(bytes)`: so many may a network's program take."""
    return lambda size: monkeypatch.setattr(cost, "memory_budget", lambda: (size, "a test"))
