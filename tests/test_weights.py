"""Weights files: round trip, metadata, and what a wrong file is told."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from sr_jax import weights
from sr_jax.models import create_model


@pytest.fixture(scope="module")
def network():
    """Model and variables, which no test changes."""
    model = create_model("edsr_baseline", n_resblocks=2, n_feats=4, scale=3)
    return model, model.init(jax.random.key(0), jnp.zeros((1, 6, 6, 3)))


def test_round_trip_is_bit_equal(tmp_path, network):
    model, variables = network
    path = tmp_path / "weights.safetensors"
    weights.save(path, model, variables)
    loaded, read = weights.load(path)
    assert loaded == model
    jax.tree.map(np.testing.assert_array_equal, read, dict(variables))
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_values_are_the_same_bytes(network):
    assert len({weights.to_bytes(*network) for _ in range(8)}) == 1


def test_all_misfits_are_listed(tmp_path, network):
    model, variables = network
    path = tmp_path / "weights.safetensors"
    weights.save(path, model, variables)
    tensors = safetensors.numpy.load_file(path)
    with safetensors.safe_open(path, "numpy") as file:
        metadata = file.metadata()
    tensors["params/extra"] = tensors.pop("params/head/bias")
    tensors["params/tail/bias"] = tensors["params/tail/bias"][:2]
    safetensors.numpy.save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match="does not fit") as error:
        weights.load(path)
    for part in ("missing params/head/bias", "unexpected params/extra", r"shape (2,), expected (3"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hyperparameters": "[1, 2]"}, "expected a table"),
        ({"hyperparameters": "{"}, "what it says of its network is not usable"),
        ({"hyperparameters": None}, "no 'hyperparameters'"),
        ({"architecture": None}, "no 'architecture'"),
        ({"architecture": "edsrr"}, "unknown architecture 'edsrr'"),
        ({"n_feats": 0}, "n_feats is 0, expected an integer"),
        ({"n_feats": 1e9}, "n_feats is 1000000000.0, expected an integer"),
        ({"n_feats": 10**9}, "n_feats is 1000000000, expected an integer from 1 to 65536"),
        ({"n_feats": 60000}, "does not fit the network edsr"),
        ({"n_colors": 2}, "n_colors is 2, expected 1 .luma. or 3 .RGB."),
        ({"n_resblocks": "2"}, "n_resblocks is '2', expected an integer"),
        ({"allow": ["os:system"]}, "what it says of its network is not usable"),
        ({"depth": 3}, "no hyper-parameter depth"),
        ({"sha256": "0"}, "was altered since it was written"),
    ],
)
def test_what_a_file_says_of_its_network_is_checked(changes, message, tmp_path, network):
    path = tmp_path / "weights.safetensors"
    weights.save(path, *network)
    with safetensors.safe_open(path, "numpy") as file:
        metadata = dict(file.metadata())
    for name, value in changes.items():
        if name in metadata:
            metadata[name] = value
        else:
            fields = json.loads(metadata["hyperparameters"]) | {name: value}
            metadata["hyperparameters"] = json.dumps(fields)
    metadata = {name: value for name, value in metadata.items() if value is not None}
    safetensors.numpy.save_file(safetensors.numpy.load_file(path), path, metadata)
    with pytest.raises(ValueError, match=message) as error:
        weights.load(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_altered_values_are_noticed(tmp_path, network):
    path = tmp_path / "weights.safetensors"
    weights.save(path, *network)
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="was altered since it was written"):
        weights.load(path)


def test_unreadable_files(tmp_path):
    with pytest.raises(ValueError, match="no weights file"):
        weights.load(tmp_path / "none.safetensors")
    hint = r"not a readable safetensors.* sr-jax convert .*/junk.pth .*/junk.safetensors"
    (tmp_path / "junk.pth").write_bytes(b"junk")
    with pytest.raises(ValueError, match=hint):
        weights.load(tmp_path / "junk.pth")
    safetensors.numpy.save_file({"a": np.zeros(3)}, tmp_path / "bare.safetensors")
    with pytest.raises(
        ValueError, match=r"which network.*bare.safetensors .*bare-converted.safetensors"
    ):
        weights.load(tmp_path / "bare.safetensors")


def test_find(tmp_path):
    with pytest.raises(ValueError, match="no such weights file or workdir"):
        weights.find(tmp_path / "none")
    with pytest.raises(ValueError, match="training has not finished"):
        weights.find(tmp_path)
    (tmp_path / "weights.safetensors").touch()
    assert weights.find(tmp_path) == tmp_path / "weights.safetensors"
