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


def computes_groups_again() -> bool:
    """Whether the backward pass computes each group of blocks again.

    On a TPU: a loop within a loop copies what its backward pass needs into the outer loop's arrays
    and out of them. RCAN's step has 309 M cycles so; it has 167 M, and a fifth of the memory, as a
    loop of groups that are computed again and whose blocks are written out (experiments/programs).
    """
    return platform() == "tpu" and not (keeps_loops() or rematerialises())


def loop_body(function: Callable, *, again: bool = False) -> Callable:
    """A function for `nn.scan`, subject to `rematerialisation`.

    Args:
        function: takes a module, the carry and the inputs of a round.
        again: whether the backward pass computes it again in any case.
    """
    return nn.remat(function) if again or rematerialises() else function
