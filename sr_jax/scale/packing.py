"""Workers and their networks on the way to other processes and machines."""

import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from sr_jax import weights
from sr_jax.memory import SHARE
from sr_jax.models import Variables
from sr_jax.models.network import Network
from sr_jax.scale.blocks import Watch

Loaded = tuple[Network, Variables]


def pack(networks: Mapping[str, Loaded | None]) -> dict[str, bytes]:
    """Networks as the content of weights files, for workers of other machines."""
    return {name: weights.to_bytes(*loaded) if loaded else b"" for name, loaded in networks.items()}


def unpack(packed: Mapping[str, bytes], allow: Collection[str] = ()) -> dict[str, Loaded | None]:
    """The networks that `pack` was given.

    Args:
        packed: what it made of them.
        allow: import paths of networks outside this package that may be imported.
    """
    networks: dict[str, Loaded | None] = {}
    with tempfile.TemporaryDirectory(prefix="sr_jax-") as folder:
        path = Path(folder, "weights.safetensors")
        for name, content in packed.items():
            path.write_bytes(content)
            networks[name] = weights.load(path, allow=allow) if content else None
    return networks


def start(
    watch: Watch,
    kind: Any,
    job: Any,
    packed: Mapping[str, bytes],
    allow: Collection[str],
    prepare: Callable[[], None],
    memory: float,
) -> Callable[[Any], Any]:
    """Makes a worker where it is called.

    Args:
        watch: of all workers.
        kind: the class, `upscaling.Upscaling` or `scoring.Scoring`.
        job: of the worker.
        packed: its networks, see `pack`.
        allow: see `unpack`.
        prepare: is called first.
        memory: what part of the machine's the worker may count on.

    Returns:
        What takes a block as plain values.
    """
    os.environ[SHARE] = str(memory)
    prepare()
    worker = kind(job, unpack(packed, allow), watch)
    return lambda block: worker(kind.parse(block))
