"""The options of commands that take a `--model`."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated

import typer

from sr_jax.commands.console import check_devices

if TYPE_CHECKING:
    from sr_jax.opening import Opened

Step = Annotated[
    int | None, typer.Option(help="Of a training workdir, the checkpoint of this step.")
]
Allow = Annotated[
    list[str] | None,
    typer.Option(help="MODULE:CLASS of a network outside sr_jax that may be imported."),
]


def open_model(model: str, *, allow: Collection[str] = (), step: int | None = None) -> "Opened":
    """As `sr_jax.opening.open_model`, once there is a device."""
    check_devices()
    from sr_jax import opening

    return opening.open_model(model, allow=allow, step=step)
