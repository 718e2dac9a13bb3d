"""Weights files: safetensors that name their own architecture and hyper-parameters.

A file holds every variable under its path ("params/head/kernel") and, in the metadata, the name
and the hyper-parameters that `create_model` takes. It can be loaded with no config at hand, and
loading runs no code but that of networks which the caller allows.
"""

import hashlib
import json
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from sr_jax import pretrained
from sr_jax.models import Variables, create_model, describe_model, variable_shapes
from sr_jax.models.network import Network
from sr_jax.storage import write_bytes

FORMAT = "sr_jax-1"


def save(path: str | Path, model: Network, variables: Variables, *, half: bool = False) -> None:
    """Writes a network and its variables to a safetensors file, whole or not at all.

    Args:
        path: the file; parent folders are made.
        model, variables, half: see `to_bytes`.

    Raises:
        ValueError: `half`, and a value is beyond float16.
    """
    write_bytes(path, to_bytes(model, variables, half=half))


def to_bytes(model: Network, variables: Variables, *, half: bool = False) -> bytes:
    """What a weights file of a network holds: the same bytes for the same values.

    Args:
        model: the network.
        variables: its variables, all collections.
        half: whether float32 is stored as float16, in half the bytes; `load` gives float32.

    Raises:
        ValueError: `half`, and a value is beyond float16.
    """
    name, hyperparameters = describe_model(model)
    flat = flax.traverse_util.flatten_dict(dict(variables), sep="/")
    tensors = {key: np.asarray(jax.device_get(value), order="C") for key, value in flat.items()}
    if half:
        tensors = {key: _halve(key, tensor) for key, tensor in tensors.items()}
    metadata = {
        "format": FORMAT,
        "architecture": name,
        "hyperparameters": json.dumps(hyperparameters),
        "sha256": _digest(tensors),
    }
    return _in_order(safetensors.numpy.save(tensors, metadata))


def load(path: str | Path, *, allow: Collection[str] = ()) -> tuple[Network, dict[str, Any]]:
    """Reads a weights file.

    Args:
        path: a file that `save` wrote.
        allow: import paths of networks outside this package that may be imported.

    Returns:
        (model, variables): the network that the file names, and its variables as jax arrays;
        those stored as float16 are float32.

    Raises:
        ValueError: no such file, not a safetensors file, no sr_jax metadata, or tensors that are
            missing, unexpected or of another shape than the network's (all are listed), or not
            those that were written; a network that is not allowed.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            flat = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ValueError(f"no weights file {path}") from None
    except (OSError, safetensors.SafetensorError) as error:
        raise ValueError(
            f"{path} is not a readable safetensors file ({error}); if it is a published "
            f"checkpoint, make one of it: {_conversion(path)}"
        ) from None
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} does not say which network it belongs to (metadata format {FORMAT!r}); make "
            f"a weights file of it: {_conversion(path)}"
        )
    try:
        hyperparameters = json.loads(metadata["hyperparameters"])
        if not isinstance(hyperparameters, dict):
            raise ValueError(f"hyperparameters are {hyperparameters!r}, expected a table")
        model = create_model(metadata["architecture"], allow=allow, **hyperparameters)
    except (KeyError, TypeError, RecursionError, json.JSONDecodeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: what it says of its network is not usable: {reason}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    check_variables(path, model, flat)
    if metadata.get("sha256", digest := _digest(flat)) != digest:
        raise ValueError(f"{path} was altered since it was written: take another copy of it")
    variables = {
        key: jnp.asarray(value, jnp.float32 if value.dtype == np.float16 else None)
        for key, value in flat.items()
    }
    return model, flax.traverse_util.unflatten_dict(variables, sep="/")


def is_weights_file(path: Path) -> bool:
    """Whether a file is for `load`: not a safetensors file of other code, nor of another kind.

    True for one that cannot be read, which `load` tells.
    """
    if path.suffix.lower() != ".safetensors":
        return False
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (OSError, safetensors.SafetensorError):
        return True


def _conversion(path: str | Path) -> str:
    """The command that makes a weights file of a published checkpoint."""
    place = Path(path).with_suffix(".safetensors")
    if place == Path(path):
        place = place.with_stem(f"{place.stem}-converted")
    return shlex.join(["sr-jax", "convert", str(path), str(place)])


def _halve(name: str, tensor: np.ndarray) -> np.ndarray:
    if tensor.dtype != np.float32:
        return tensor
    with np.errstate(over="ignore"):
        half = tensor.astype(np.float16)
    if not np.isfinite(half).all():
        raise ValueError(f"{name} has values that float16 cannot hold")
    return half


def _in_order(data: bytes) -> bytes:
    """The same file with its metadata by name; safetensors has them in an order of chance."""
    begin = 8 + int.from_bytes(data[:8], "little")  # of the tensors
    header = json.loads(data[8:begin])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[begin:]


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of all tensors by their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def check_variables(source: str | Path, model: Network, flat: dict[str, np.ndarray]) -> None:
    """Raises one ValueError that lists all tensors that do not fit the network."""
    expected = flax.traverse_util.flatten_dict(dict(variable_shapes(model)), sep="/")
    problems = [f"missing {key}" for key in sorted(expected.keys() - flat.keys())]
    problems += [f"unexpected {key}" for key in sorted(flat.keys() - expected.keys())]
    problems += [
        f"{key} has shape {flat[key].shape}, expected {expected[key].shape}"
        for key in sorted(expected.keys() & flat.keys())
        if flat[key].shape != expected[key].shape
    ]
    if problems:
        name, _ = describe_model(model)
        raise ValueError(f"{source} does not fit the network {name}: {'; '.join(problems)}")


def find(model: str | Path) -> Path:
    """The weights file that a user names: a file, a workdir that holds one, or a network of ours.

    Raises:
        ValueError: none of these, or two of them; the message says what to do.
    """
    path = Path(model)
    card = pretrained.cards().get(str(model))
    if card and path.exists():
        raise ValueError(
            f"{model} is a network that comes with sr_jax and a file or folder here: write "
            f"./{model} for the latter, or go elsewhere"
        )
    if card:
        return card.path
    if path.is_dir():
        path = path / "weights.safetensors"
        if not path.exists():
            raise ValueError(
                f"{model} holds no weights.safetensors: its training has not finished; run the "
                "same `python -m sr_jax.main` command again to resume it"
            )
    elif not path.exists():
        raise ValueError(
            f"{model}: no such weights file or workdir, and no network that comes with sr_jax, "
            "which `sr-jax models` lists"
        )
    return path
