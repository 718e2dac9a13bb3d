"""The network that the commands are tested with."""

import pytest
from helpers import random_variables

from sr_jax import weights
from sr_jax.models import create_model


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    """A weights file of a tiny network with random weights."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    network = create_model("edsr_baseline", scale=2, n_resblocks=1, n_feats=4)
    weights.save(path, network, random_variables(network, 0.2))
    return str(path)
