"""Checkpoint files as a library reads and writes them; damaged ones: tests/commands."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sr_jax import weights
from sr_jax.interop.checkpoint import WRITERS, WeightsFileError, read_checkpoint, write_checkpoint
from sr_jax.models import create_model


@pytest.mark.parametrize("suffix", WRITERS)
def test_what_is_written_is_read(tmp_path, suffix):
    if suffix == ".pth":
        pytest.importorskip("torch")
    state_dict = {
        "conv.weight": np.random.default_rng(0).random((4, 3, 2, 2), np.float32),
        "norm.num_batches_tracked": np.array(7, np.int64),
    }
    path = tmp_path / "new" / f"net{suffix.upper()}"
    write_checkpoint(str(path), state_dict)
    back, implied = read_checkpoint(str(path))
    assert not implied
    assert back.keys() == state_dict.keys()
    for name, value in state_dict.items():
        assert (back[name].dtype, back[name].shape) == (value.dtype, value.shape)
        assert back[name].tobytes() == value.tobytes()


def test_refusals(tmp_path):
    path = tmp_path / "net.onnx"
    with pytest.raises(ValueError, match=r"the name must end in \.pth or \.safetensors or \.npz$"):
        write_checkpoint(path, {"weight": np.zeros(2, np.float32)})
    assert not path.exists()
    with pytest.raises(ValueError, match=r"^no such file: .*net\.onnx$"):
        read_checkpoint(path)
    path.touch()
    with pytest.raises(ValueError, match=r"^cannot read .*net\.onnx: known are \.pth, \.pt"):
        read_checkpoint(path)


def test_a_weights_file_is_no_checkpoint(tmp_path):
    model = create_model("srcnn_915", n_feats=(2, 2))
    variables = jax.tree.map(
        lambda s: jnp.zeros(s.shape, s.dtype), dict(weights.variable_shapes(model))
    )
    weights.save(tmp_path / "net.safetensors", model, variables)
    with pytest.raises(WeightsFileError, match=r"already: sr_jax\.weights\.load reads it$"):
        read_checkpoint(tmp_path / "net.safetensors")
