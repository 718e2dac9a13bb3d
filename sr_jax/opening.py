"""Networks by the names that users have for them: files, workdirs, checkpoints of other code."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from sr_jax import hub, pretrained, weights
from sr_jax.models import Variables
from sr_jax.models.network import Network
from sr_jax.storage import digest

_EXPORTS = (".stablehlo", ".onnx")


class Opened(NamedTuple):
    """A network, and where it is from.

    Attributes:
        model, variables: the network.
        note: a line for the user; empty where there is nothing to say.
        identity: tells it from every other, plain values.
    """

    model: Network
    variables: Variables
    note: str
    identity: Any


def open_model(
    model: str | Path, *, allow: Collection[str] = (), step: int | None = None
) -> Opened:
    """Loads the network that a user names.

    Args:
        model: the name of a network that comes with this package, see `sr_jax.pretrained`; a
            weights file; a published checkpoint, which is converted; either of them on the
            Hugging Face Hub, as `hub.fetch` takes it; or a training workdir, of which the weights
            are taken or, while it is still trained, the newest checkpoint.
        allow: import paths of networks outside this package that may be imported.
        step: of a workdir, the checkpoint of this step.

    Raises:
        ValueError: none of these, or it cannot be read; one line says what to do.
    """
    from sr_jax.interop.checkpoint import READERS

    if hub.is_name(model):
        if step is not None:
            raise ValueError(f"a step is for a training workdir, but {model} is on the Hub")
        fetched = hub.fetch(model)
        opened = open_model(fetched.path, allow=allow)
        return opened._replace(note="; ".join(filter(None, (fetched.note, opened.note))))
    path = Path(model)
    final = path / "weights.safetensors"
    if path.suffix.lower() in _EXPORTS:
        raise ValueError(f"{model} is an export: give the network that it was made of")
    ours = str(model) in pretrained.cards()
    if not ours and path.is_dir() and (step is not None or not final.exists()):
        return _open_run(path, allow, step)
    if step is not None:
        what = "comes with sr_jax" if ours else "is a file"
        raise ValueError(f"a step is for a training workdir, but {model} {what}")
    readable = not ours and path.is_file() and path.suffix.lower() in READERS
    if readable and not weights.is_weights_file(path):
        return _open_checkpoint(path)
    place = weights.find(model)
    return Opened(*weights.load(place, allow=allow), "", digest(place))


def _open_checkpoint(path: Path) -> Opened:
    from sr_jax.interop.checkpoint import read_checkpoint
    from sr_jax.interop.torch import convert

    state_dict, implied = read_checkpoint(path)
    try:
        found = convert(state_dict, None, **implied)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    note = f"{path} is converted: {found.describe()}; `sr-jax convert` keeps the result"
    return Opened(found.model, found.variables, note, digest(path))


def _open_run(workdir: Path, allow: Collection[str], step: int | None) -> Opened:
    from sr_jax.training.start import load_run

    model, variables, found = load_run(workdir, allow=allow, step=step)
    note = f"{workdir}: the checkpoint of step {found}"
    return Opened(model, variables, note, [str(workdir.resolve()), found])
