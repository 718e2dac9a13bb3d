"""The options of commands that take a `--model`."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sr_jax.commands.console import check_devices, printable

if TYPE_CHECKING:
    from sr_jax.opening import Opened

Step = Annotated[
    int | None, typer.Option(help="Of a training workdir, the checkpoint of this step.")
]
Allow = Annotated[
    list[str] | None,
    typer.Option(help="MODULE:CLASS of a network outside sr_jax that may be imported."),
]


# By which images are enlarged where nothing was said.
OWN_SCALE = 2


def open_model(model: str, *, allow: Collection[str] = (), step: int | None = None) -> "Opened":
    """As `sr_jax.opening.open_model`, once there is a device."""
    check_devices()
    from sr_jax import opening

    return opening.open_model(model, allow=allow, step=step)


def choose_models(images: Iterable[Path], scale: float) -> dict[Path, str]:
    """The network of ours that is best for each image; says which and why.

    Args:
        images: of which the first bytes are read.
        scale: by which they are enlarged.
    """
    from sr_jax import pretrained
    from sr_jax.imaging.files import is_jpeg

    groups: dict[bool, list[Path]] = {}
    for path in images:
        groups.setdefault(is_jpeg(path), []).append(path)
    found: dict[Path, str] = {}
    for jpeg, paths in sorted(groups.items()):
        card = pretrained.choose(scale, "photo" if jpeg else "bicubic")
        what = paths[0].name if len(paths) == 1 else f"{len(paths)} images"
        made = "made for JPEG" if jpeg else "made for clean images"
        print(printable(f"{what}: {card.name}, {made} (--model takes another)"))
        found |= dict.fromkeys(paths, card.name)
    return found
