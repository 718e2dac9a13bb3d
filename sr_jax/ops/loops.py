"""Whether repeated layers are a loop of the program, and what its backward pass keeps."""

from collections.abc import Callable

import flax.linen as nn

from sr_jax.ops.target import platform, rematerialises


def writes_out(length: int, up_to: int) -> bool:
    """Whether a loop of so many rounds is traced as straight code.

    On a GPU always: in a loop everything that the backward pass needs is copied into stacked arrays
    and out of them, of which RCAN's step has 230 GiB (experiments/programs). Elsewhere `up_to`
    rounds, for the compile time. Never under rematerialisation: XLA would merge what is computed
    again with what was computed before.
    """
    return (platform() == "gpu" or length <= up_to) and not rematerialises()


def loop_body(function: Callable) -> Callable:
    """A function for `nn.scan`, subject to `rematerialisation`."""
    return nn.remat(function) if rematerialises() else function
