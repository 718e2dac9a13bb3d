"""Exported networks, run without the package's networks: JAX and flatbuffers are enough."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.export
import numpy as np

FORMAT = "sr_jax-stablehlo-1"


class Exported:
    """A network from a `.stablehlo` file: `sr_jax.load("edsr.stablehlo")(images)`.

    Attributes:
        facts: architecture, hyperparameters, scale, takes_interpolated, channels, size (height and
            width, None for any).
    """

    def __init__(self, program: "jax.export.Exported", facts: dict[str, Any]) -> None:
        """Holds a program that `load_exported` has read."""
        self.facts = facts
        self._program = program
        self._call = jax.jit(program.call)

    def __call__(self, images: "jax.Array | np.ndarray") -> jax.Array:
        """Runs the network.

        Args:
            images: (N, H, W, C) float32 of nominal range [0, 1]; N is 1 where the size is fixed.

        Returns:
            (N, s * H, s * W, C), neither clipped nor rounded.

        Raises:
            ValueError: another shape or dtype.
        """
        channels, size = self.facts["channels"], self.facts["size"]
        wanted = ("N", "H", "W", channels) if size is None else (1, *size, channels)
        shape = np.shape(images)
        fits = len(shape) == 4 and all(
            isinstance(want, str) or want == side for want, side in zip(wanted, shape, strict=True)
        )
        if not fits or images.dtype != np.float32:
            raise ValueError(
                f"images are {images.dtype} of {shape}, expected float32 of "
                f"({', '.join(map(str, wanted))})"
            )
        return self._call(images)


def facts_path(path: str | Path) -> Path:
    """The file beside an export that says what it is."""
    return Path(path).with_suffix(".json")


def load_exported(path: str | Path) -> Exported:
    """Reads what `sr-jax export` wrote.

    Args:
        path: a `.stablehlo` file, beside which lies its `.json`.

    Raises:
        ValueError: no such file, or one of them cannot be read.
    """
    try:
        facts = json.loads(facts_path(path).read_text())
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no {error.filename}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: it or its .json cannot be read: {error}") from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise ValueError(f"{facts_path(path)} does not say that it is of {FORMAT}")
    try:
        program = jax.export.deserialize(bytearray(content))
    except ImportError as error:
        raise ValueError(f"{path}: {error}") from None
    except Exception as error:  # of flatbuffers, of any kind
        raise ValueError(f"{path} is no program of jax.export: {error}") from None
    return Exported(program, facts)
