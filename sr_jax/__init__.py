"""Single-image super-resolution networks in JAX/Flax.

>>> import sr_jax
>>> model = sr_jax.create_model("edsr_baseline", scale=2)

`Upscaler` enlarges arrays and PIL images; `load` and `save` read and write networks; `create_model`
and `forward` are the networks as pure functions. Each is imported when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sr_jax.loading import load
    from sr_jax.models import create_model, forward
    from sr_jax.upscaler import Upscaler
    from sr_jax.weights import save

__version__ = "0.1.0"
__all__ = ["Upscaler", "create_model", "forward", "load", "save"]

_PLACES = {
    "Upscaler": "sr_jax.upscaler",
    "load": "sr_jax.loading",
    "save": "sr_jax.weights",
    "create_model": "sr_jax.models",
    "forward": "sr_jax.models",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'sr_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
