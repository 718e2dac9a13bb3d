"""What `sr_jax.load` reads; nothing is imported but what the file at hand needs."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sr_jax.export.exported import Exported
    from sr_jax.models.network import Network


def load(
    model: str | Path, *, allow: Collection[str] = (), step: int | None = None
) -> "tuple[Network, Any] | Exported":
    """Loads a network and its variables, or a program that was made of them.

    Args:
        model: the name of a network that comes with sr_jax (`sr-jax models` lists them); a weights
            file; a published checkpoint, which is converted; either of them on the Hugging Face
            Hub, see `sr_jax.hub.fetch`; a training workdir, of which the weights are taken or,
            while it is still trained, the newest checkpoint; or a `.stablehlo` file of `sr-jax
            export`, for which JAX and flatbuffers are enough.
        allow: import paths of networks outside this package that may be imported, which runs code.
        step: of a workdir, the checkpoint of this step.

    Returns:
        (network, variables); of a `.stablehlo` file an `sr_jax.export.exported.Exported`, which is
        called with images.

    Raises:
        ValueError: none of these, or it cannot be read; one line says what to do.
    """
    if Path(model).suffix.lower() == ".stablehlo":
        from sr_jax.export.exported import load_exported

        if allow or step is not None:
            raise ValueError(f"{model} is an exported program: no `allow` and no `step` here")
        return load_exported(model)
    from sr_jax.opening import open_model

    opened = open_model(model, allow=allow, step=step)
    return opened.model, opened.variables
