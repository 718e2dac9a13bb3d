"""Files of published checkpoints, read and written by the suffix of their names.

No code in a file is ever run.
"""

import io
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from sr_jax.interop import keras, matlab
from sr_jax.storage import write_bytes
from sr_jax.weights import FORMAT

Checkpoint = tuple[Mapping[str, Any], dict[str, Any]]  # tensors; what the format implies


_NUMPY_DTYPES = [
    type(np.dtype(kind)) for kind in ("bool", "int32", "int64", "float16", "float32", "float64")
]


class WeightsFileError(ValueError):
    """What was to be read is a file of `sr_jax.weights`, not a published checkpoint."""


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Reads a published checkpoint.

    Args:
        path: .pth, .pt, .ckpt, .bin or .pth.tar, .safetensors, .npz; .mat (see `interop.matlab`);
            .h5 (see `interop.keras`).

    Returns:
        Names to arrays, for `from_torch`, perhaps nested in a training checkpoint; and the
        hyper-parameters that the format implies.

    Raises:
        ValueError: no such file, unknown suffix, a damaged file, one that would run code, or one
            whose reader is not installed.
        WeightsFileError: a weights file, which `sr_jax.weights.load` reads.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    if path.suffix.lower() not in READERS:
        raise ValueError(f"cannot read {path}: known are {', '.join(READERS)}")
    return READERS[path.suffix.lower()](path)


def write_checkpoint(path: str | Path, state_dict: Mapping[str, np.ndarray]) -> None:
    """Writes a state dict, whole or not at all.

    Args:
        path: .pth, .safetensors or .npz; parent folders are made.
        state_dict: names to arrays, as `to_torch` makes them. Safetensors files do not keep their
            order.

    Raises:
        ValueError: unknown suffix, or PyTorch is needed and not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITERS:
        raise ValueError(f"cannot write {path}: the name must end in {' or '.join(WRITERS)}")
    write_bytes(path, WRITERS[path.suffix.lower()](dict(state_dict)))


def _read_pickle(path: Path) -> Checkpoint:
    try:
        import torch
    except ImportError:
        raise ValueError(f"reading {path} needs PyTorch: pip install 'sr-jax[torch]'") from None
    try:
        # weights_only admits tensors and plain containers and refuses all other pickled objects. A
        # NumPy number is a dtype and bytes.
        numbers: list[Any] = [np.dtype, np.array(0.0)[()].__reduce__()[0], *_NUMPY_DTYPES]
        with torch.serialization.safe_globals(numbers):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises almost anything
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign:
            raise ValueError(
                f"{path} is refused: it holds a Python object, {foreign[1]}, that could run code; "
                "have its maker save the state dict alone"
            ) from None
        # The first sentence: the next ones recommend to load it unsafely.
        reason = re.split(r"\.\s|\n|Re-running", f"{error}", maxsplit=1)[0][:200].strip()
        reason = reason or type(error).__name__
        raise ValueError(f"{path} is damaged or no PyTorch checkpoint: {reason}") from None
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a state dict")
    return _to_numpy(content), {}


def _to_numpy(value: Any) -> Any:
    """Tensors of nested dicts to arrays; other values as they are."""
    import torch

    if isinstance(value, Mapping):
        return {key: _to_numpy(inner) for key, inner in value.items()}
    if isinstance(value, torch.Tensor):
        value = value.detach()
        # NumPy has no bfloat16.
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    return value


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, TypeError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from None
    if metadata.get("format") == FORMAT:
        raise WeightsFileError(f"{path} is a weights file already: sr_jax.weights.load reads it")
    return tensors, {}


def _read_npz(path: Path) -> Checkpoint:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return dict(file), {}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a readable .npz file of plain arrays: {error}") from None


def _write_pickle(state_dict: dict[str, np.ndarray]) -> bytes:
    try:
        import torch
    except ImportError:
        raise ValueError("writing .pth files needs PyTorch: pip install 'sr-jax[torch]'") from None
    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(value) for name, value in state_dict.items()}, buffer)
    return buffer.getvalue()


def _write_npz(state_dict: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **state_dict)  # type: ignore[arg-type]
    return buffer.getvalue()


READERS: dict[str, Callable[[Path], Checkpoint]] = {
    ".pth": _read_pickle,
    ".pt": _read_pickle,
    ".ckpt": _read_pickle,
    ".bin": _read_pickle,
    ".tar": _read_pickle,  # model.pth.tar is a name that some repositories give
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".mat": matlab.read,
    ".h5": keras.read,
}
WRITERS: dict[str, Callable[[dict[str, np.ndarray]], bytes]] = {
    ".pth": _write_pickle,
    ".safetensors": safetensors.numpy.save,
    ".npz": _write_npz,
}
