"""What is timed: one forward pass, or one training step, of one side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

# By which two float32 programs may differ: rounding, which deep networks multiply. TF32 keeps 10
# bits of the mantissa, bfloat16 7.
TOLERANCES = {"float32": 1e-4, "tf32": 3e-2, "bfloat16": 2e-1}
# A leaky ReLU near its kink gives another gradient: of one patch, PyTorch's own of SRGAN's
# discriminator is 1.5e-3 from the one in float64.
GRADIENT_FACTOR = 100


@dataclass
class Contender:
    """One column of a row, ready to be timed.

    Attributes:
        run: one forward pass or one training step, waited for.
        result: runs once more and returns what must be equal on all sides; for a training step the
            first one's `loss` and `gradient`, so it has to be called before anything else.
        compile_seconds: what it took to compile, None for eager PyTorch.
        temporary_bytes: what the compiler says that the program takes beside its arguments.
        program_bytes: that, and its arguments and results.
    """

    run: Callable[[], Any]
    result: Callable[[], Mapping[str, np.ndarray]]
    compile_seconds: float | None = None
    temporary_bytes: int | None = None
    program_bytes: int | None = None


def errors(
    actual: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """Norm of the difference over norm of the expected array, less its mean if it has many values.

    Without the mean, which a network's mean shift alone gets right.

    Raises:
        ValueError: other names or shapes.
    """
    if actual.keys() != expected.keys():
        raise ValueError(f"outputs {sorted(actual)} against {sorted(expected)}")
    found = {}
    for name, theirs in expected.items():
        ours = actual[name]
        if ours.shape != theirs.shape:
            raise ValueError(f"{name} has shape {ours.shape} against {theirs.shape}")
        centred = theirs - theirs.mean(dtype=np.float64) if theirs.size > 1 else theirs
        difference = np.subtract(ours, theirs, dtype=np.float64)
        found[name] = float(np.linalg.norm(difference) / np.linalg.norm(centred))
    return found


def check_equal(
    name: str,
    actual: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    tolerance: float,
) -> dict[str, float]:
    """The errors of a contender, which is not timed if they are too large.

    Args:
        name: for the message.
        actual, expected: as `Contender.result` gives them.
        tolerance: of outputs and losses; gradients have `GRADIENT_FACTOR` times as much.

    Raises:
        ValueError: an error above its tolerance, or not a number.
    """
    found = errors(actual, expected)
    for quantity, error in found.items():
        bound = tolerance * (GRADIENT_FACTOR if quantity.startswith("gradient") else 1)
        if not error <= bound:
            raise ValueError(
                f"{name} computes something else: relative error of {quantity} {error:.1e}, "
                f"tolerated {bound:.0e}"
            )
    return found
