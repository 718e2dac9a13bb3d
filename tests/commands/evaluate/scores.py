"""What the tests of `sr-jax evaluate` share; they import fixtures by `as`."""

import json

import jax
import numpy as np
import pytest

from sr_jax import weights
from sr_jax.imaging.files import write_image
from sr_jax.models import create_model

BICUBIC_X2 = {"model": ["bicubic"], "scale": [2]}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """The workdir of a network of random weights."""
    folder = tmp_path_factory.mktemp("workdir")
    model, rng = create_model("edsr_baseline", n_resblocks=1, n_feats=4), np.random.default_rng(0)
    shapes = weights.variable_shapes(model)
    variables = jax.tree.map(lambda x: np.float32(0.1 * rng.standard_normal(x.shape)), shapes)
    weights.save(folder / "weights.safetensors", model, variables)
    return folder


@pytest.fixture
def photos(tmp_path):
    """A folder of images of one shape in several layouts, one of them in a folder of its own."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    for name, channels, dtype in [
        ("rgb", (3,), np.uint8),
        ("grey", (), np.uint8),
        ("deep/rgba16", (4,), np.uint16),
    ]:
        image = rng.integers(0, np.iinfo(dtype).max, (36, 40, *channels), dtype, endpoint=True)
        write_image(folder / f"{name}.png", image)
    return folder


def read(path):
    return json.loads(path.read_text())
