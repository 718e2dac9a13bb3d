"""What images and frames go through, and what of it is told."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_jax.commands.model import open_model

if TYPE_CHECKING:
    from sr_jax.evaluation.scoring import Loaded
    from sr_jax.inference.layout import Plan
    from sr_jax.inference.settings import Settings

BICUBIC = "bicubic"


@dataclasses.dataclass
class Enlarger:
    """What images go through, and how.

    Attributes:
        loaded: the network and its variables; None is bicubic interpolation.
        identity: tells it from every other.
        factor: of the network itself.
        settings: how its images go through it.
        rate: its multiply-adds a second, once they were measured.
    """

    loaded: "Loaded | None"
    identity: Any
    factor: int
    settings: "Settings"
    rate: float = 0.0


def open_enlarger(
    name: str,
    scale: float | None,
    settings: "Settings",
    allow: Sequence[str] = (),
    step: int | None = None,
) -> Enlarger:
    """The network of this name; says what there is to say of it."""
    from sr_jax.inference.upscaler import network_factor

    if name == BICUBIC:
        return Enlarger(None, name, 1, settings)
    model, variables, note, identity = open_model(name, allow=allow, step=step)
    if note:
        print(note)
    return Enlarger((model, variables), identity, network_factor(model, scale), settings)


def describe_cost(
    path: Path,
    shape: Sequence[int],
    size: tuple[int, int],
    cost: "Plan",
    rate: float,
    passes: int = 1,
) -> str:
    """One line of --dry-run; the rate is of multiply-adds a second."""

    def pixels(shape: Sequence[int]) -> str:
        return f"{shape[1]} x {shape[0]}"

    tiles = passes * cost.tiles
    each = f" on each of {cost.devices} devices" if cost.devices > 1 else ""
    return (
        f"{path}: {pixels(shape)} to {pixels(size)} pixels; "
        f"{tiles} {'tile' if tiles == 1 else 'tiles'} of {pixels(cost.tile)} ({cost.reason}); "
        f"{cost.device_memory / 2**20:.0f} MiB for the network{each}, "
        f"{cost.host_memory / 2**20:.0f} MiB for images; "
        f"{passes * cost.multiply_adds / 1e9:.2f} G multiply-adds, about "
        f"{passes * cost.multiply_adds / rate:.1f} s here and what compiling takes"
    )


def failure_of(path: Path, error: Exception) -> str:
    """What went wrong with a file, in one line that names it."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        text = "not enough memory: give a smaller --tile (in place of --shard-image) or --batch"
    return text if str(path) in text else f"cannot upscale {path}: {text}"
