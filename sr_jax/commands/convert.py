"""`sr-jax convert`: published checkpoints to weights files, and the way back."""

import io
import re
import types
import typing
import zipfile
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from sr_jax.models.network import Network

# Commands answer `--help` at once: whatever takes long to import is imported where it is used.

Checkpoint = tuple[Mapping[str, Any], dict[str, Any]]  # tensors; what the format implies


class Target(StrEnum):
    """What to convert to."""

    SR_JAX = "sr_jax"
    TORCH = "torch"


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="PyTorch .pth, .safetensors or .npz; SRCNN's or VDSR's .mat; Keras SRResNet .h5.",
        ),
    ],
    output: Annotated[
        Path, typer.Argument(help="A .safetensors file; with --to torch also .pth or .npz.")
    ],
    architecture: Annotated[
        str | None, typer.Option(help="What the input must be. Default: recognised by its names.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A hyper-parameter; may be repeated."),
    ] = None,
    to: Annotated[Target, typer.Option(help="'torch' turns weights files back.")] = Target.SR_JAX,
    layout: Annotated[
        str | None, typer.Option(help="With --to torch: whose names, e.g. 'lornatang'.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that exists.")] = False,
) -> None:
    """Converts a published checkpoint to a weights file, or a weights file to a checkpoint."""
    suffixes = WRITERS if to is Target.TORCH else (".safetensors",)
    if output.suffix.lower() not in suffixes:
        raise ValueError(f"cannot write {output}: the name must end in {' or '.join(suffixes)}")
    if output.exists() and not overwrite:
        raise ValueError(f"{output} exists: give --overwrite, or another name")
    if to is Target.TORCH:
        if architecture or settings:
            raise ValueError("a weights file knows its network: no --architecture or --set here")
        _back(source, output, layout)
    else:
        if layout:
            raise ValueError("--layout is for --to torch: the input's names are recognised")
        _forth(source, output, architecture, settings or [])


def _forth(source: Path, output: Path, architecture: str | None, settings: list[str]) -> None:
    from sr_jax import weights
    from sr_jax.interop import torch
    from sr_jax.models import count_parameters, describe_model

    state_dict, implied = read_checkpoint(source)
    try:
        network = torch.recognise(state_dict, architecture)
        given = parse_settings(network, settings)
        converted = torch.convert(state_dict, architecture, **{**implied, **given})
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    weights.save(output, converted.model, converted.variables)
    name, _ = describe_model(converted.model)
    implied = {field: value for field, value in implied.items() if field not in given}
    report = {
        "architecture": name,
        "taken out of": ", ".join(converted.wrappers),
        "read off": _listed(converted.read),
        "file format": _listed(implied),
        "given": _listed(given),
        "assumed": _listed(converted.assumed),
        "parameters": f"{count_parameters(converted.variables):,}",
        "written to": str(output),
    }
    _print(report)


def _back(source: Path, output: Path, layout: str | None) -> None:
    from sr_jax import weights
    from sr_jax.interop.torch import to_torch
    from sr_jax.models import describe_model
    from sr_jax.storage import write_bytes

    model, variables = weights.load(source)
    state_dict = to_torch(model, variables, layout=layout)
    write_bytes(output, WRITERS[output.suffix.lower()](state_dict))
    name, hyperparameters = describe_model(model)
    report = {
        "architecture": name,
        "given": _listed(hyperparameters),
        "tensors": f"{len(state_dict)}",
        "written to": str(output),
    }
    _print(report)


def _listed(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in fields.items())


def _print(report: dict[str, str]) -> None:
    for label, text in report.items():
        if text:
            print(f"{label:<13} {text}")


def parse_settings(network: type["Network"], settings: list[str]) -> dict[str, Any]:
    """Hyper-parameters of a network from `field=value` texts, typed as the network's fields.

    Args:
        network: the class.
        settings: e.g. `["scale=3", "kernel_sizes=9,5,5", "use_bias=false", "scale=none"]`.

    Raises:
        ValueError: not of that form, unknown fields (all are listed), or a value of another type.
    """
    hints = {
        name: hint
        for name, hint in typing.get_type_hints(network).items()
        if name in network.field_names()
    }
    pairs = [setting.partition("=") for setting in settings]
    wrong = [field for field, equals, _ in pairs if not equals]
    if wrong:
        raise ValueError(f"--set takes FIELD=VALUE; given {', '.join(wrong)}")
    unknown = [field for field, _, _ in pairs if field not in hints]
    if unknown:
        raise ValueError(
            f"{network.__name__} has no hyper-parameter {', '.join(unknown)}; it has "
            f"{', '.join(hints)}"
        )
    values = {}
    for field, _, text in pairs:
        try:
            values[field] = _parse(hints[field], text.strip())
        except ValueError:
            kind = (
                getattr(hints[field], "__name__", None) if isinstance(hints[field], type) else None
            )
            raise ValueError(f"--set {field}={text}: expected {kind or hints[field]}") from None
    return values


def _parse(hint: Any, text: str) -> Any:
    options = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        if type(None) in options and text.lower() == "none":
            return None
        (hint,) = (option for option in options if option is not type(None))
        return _parse(hint, text)
    if typing.get_origin(hint) is tuple:
        inner = text.strip("()[] ").rstrip(",")
        return tuple(_parse(options[0], part.strip()) for part in inner.split(","))
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError
        return text.lower() == "true"
    return hint(text)


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a published checkpoint, by the suffix of its name; no code in it is ever run.

    Args:
        path: .pth, .pt or .pth.tar, .safetensors, .npz; .mat (see `interop.matlab`); .h5 (see
            `interop.keras`).

    Returns:
        Names to arrays, for `from_torch`, perhaps nested in a training checkpoint; and the
        hyper-parameters that the format implies.

    Raises:
        ValueError: no such file, unknown suffix, a damaged file, one that would run code, or one
            whose reader is not installed.
    """
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    if path.suffix.lower() not in READERS:
        raise ValueError(f"cannot read {path}: known are {', '.join(READERS)}")
    return READERS[path.suffix.lower()](path)


def _read_pickle(path: Path) -> Checkpoint:
    try:
        import torch
    except ImportError:
        raise ValueError(f"reading {path} needs PyTorch: pip install torch") from None
    try:
        # weights_only admits tensors and plain containers and refuses all other pickled objects.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises almost anything
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign:
            raise ValueError(
                f"{path} is refused: it holds a Python object, {foreign[1]}, that could run code; "
                "have its maker save the state dict alone"
            ) from None
        reason = str(error).splitlines() or [type(error).__name__]
        raise ValueError(f"{path} is damaged or no PyTorch checkpoint: {reason[0][:200]}") from None
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
    import safetensors

    from sr_jax.weights import FORMAT

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, TypeError, safetensors.SafetensorError) as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from None
    if metadata.get("format") == FORMAT:
        raise ValueError(f"{path} is a weights file already: give --to torch to turn it back")
    return tensors, {}


def _read_npz(path: Path) -> Checkpoint:
    import numpy as np

    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return dict(file), {}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a readable .npz file of plain arrays: {error}") from None


def _read_mat(path: Path) -> Checkpoint:
    from sr_jax.interop import matlab

    return matlab.read(path)


def _read_h5(path: Path) -> Checkpoint:
    from sr_jax.interop import keras

    return keras.read(path)


def _write_pickle(state_dict: "dict[str, np.ndarray]") -> bytes:
    try:
        import torch
    except ImportError:
        raise ValueError("writing .pth files needs PyTorch: pip install torch") from None
    buffer = io.BytesIO()
    torch.save({name: torch.from_numpy(value) for name, value in state_dict.items()}, buffer)
    return buffer.getvalue()


def _write_safetensors(state_dict: "dict[str, np.ndarray]") -> bytes:
    import safetensors.numpy

    return safetensors.numpy.save(state_dict)


def _write_npz(state_dict: "dict[str, np.ndarray]") -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.savez(buffer, **state_dict)  # type: ignore[arg-type]
    return buffer.getvalue()


READERS = {
    ".pth": _read_pickle,
    ".pt": _read_pickle,
    ".tar": _read_pickle,  # model.pth.tar is a name that some repositories give
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
    ".mat": _read_mat,
    ".h5": _read_h5,
}
WRITERS = {".pth": _write_pickle, ".safetensors": _write_safetensors, ".npz": _write_npz}
