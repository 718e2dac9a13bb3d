"""Whether repeated layers are a loop or unrolled, and what the backward pass keeps."""

from collections.abc import Callable

import flax.linen as nn

from sr_jax.ops.target import keeps_loops, platform, rematerialises


def unrolls(length: int, up_to: int) -> bool:
    """Whether a loop of `length` rounds is unrolled.

    On a GPU always: a loop copies all that its backward pass needs into stacked arrays and out of
    them, 230 GiB in a step of RCAN (experiments/programs). Elsewhere up to `up_to` rounds, for the
    sake of compile time. Never under rematerialisation: XLA would merge what is computed again
    with what was computed before. Nor inside `kept_loops`.
    """
    if keeps_loops() or rematerialises():
        return False
    return platform() == "gpu" or length <= up_to


def loop_body(function: Callable) -> Callable:
    """A function for `nn.scan`, subject to `rematerialisation`."""
    return nn.remat(function) if rematerialises() else function
