"""`sr-jax convert`: published checkpoints to weights files, and the way back."""

import types
import typing
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sr_jax.commands.model import Allow, Step, open_model

if TYPE_CHECKING:
    from sr_jax.models.network import Network

# Commands answer `--help` at once: whatever takes long to import is imported where it is used.


class Target(StrEnum):
    """What to convert to."""

    SR_JAX = "sr_jax"
    TORCH = "torch"


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="PyTorch .pth, .safetensors or .npz; SRCNN's or VDSR's .mat; Keras SRResNet .h5; "
            "a training workdir; hf:USER/REPO/FILE.safetensors on the Hugging Face Hub.",
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
    step: Step = None,
    allow: Allow = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that exists.")] = False,
) -> None:
    """Converts a published checkpoint to a weights file, or a weights file to a checkpoint.

    Of a training workdir a checkpoint becomes either, also while the training goes on.
    """
    from sr_jax.interop.checkpoint import WRITERS

    suffixes = WRITERS if to is Target.TORCH else (".safetensors",)
    if output.suffix.lower() not in suffixes:
        raise ValueError(f"cannot write {output}: the name must end in {' or '.join(suffixes)}")
    from sr_jax import hub, pretrained

    if output.exists() and not overwrite:
        raise ValueError(f"{output} exists: give --overwrite, or another name")
    if layout and to is not Target.TORCH:
        raise ValueError("--layout is for --to torch: the input's names are recognised")
    if hub.is_name(source):
        fetched = hub.fetch(source)
        print(fetched.note)
        source = fetched.path
    ours = str(source) in pretrained.cards()
    known = to is Target.TORCH or source.is_dir() or ours
    if known and (architecture or settings):
        raise ValueError(
            "a weights file and a workdir know their network: no --architecture or --set here"
        )
    if known:
        _back(source, output, layout, to, step, allow or ())
    elif step is not None or allow:
        raise ValueError("--step and --allow are for training workdirs and weights files")
    else:
        _forth(source, output, architecture, settings or [])


def _forth(source: Path, output: Path, architecture: str | None, settings: list[str]) -> None:
    from sr_jax import weights
    from sr_jax.interop import torch
    from sr_jax.interop.checkpoint import WeightsFileError, read_checkpoint
    from sr_jax.models import count_parameters, describe_model

    try:
        state_dict, implied = read_checkpoint(source)
    except WeightsFileError:
        raise ValueError(
            f"{source} is a weights file already: give --to torch to turn it back"
        ) from None
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
        "left aside": torch.list_some(converted.aside),
        "read off": _listed(converted.read),
        "file format": _listed(implied),
        "given": _listed(given),
        "assumed": _listed(converted.assumed),
        "parameters": f"{count_parameters(converted.variables):,}",
        "written to": str(output),
    }
    _print(report)


def _back(
    source: Path,
    output: Path,
    layout: str | None,
    to: Target,
    step: int | None,
    allow: Sequence[str],
) -> None:
    from sr_jax import weights
    from sr_jax.interop.checkpoint import write_checkpoint
    from sr_jax.interop.torch import to_torch
    from sr_jax.models import describe_model

    model, variables, note, _ = open_model(str(source), step=step, allow=allow)
    tensors = ""
    if to is Target.TORCH:
        state_dict = to_torch(model, variables, layout=layout)
        write_checkpoint(output, state_dict)
        tensors = str(len(state_dict))
    else:
        weights.save(output, model, variables)
    name, hyperparameters = describe_model(model)
    report = {
        "taken from": note,
        "architecture": name,
        "given": _listed(hyperparameters),
        "tensors": tensors,
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
