"""What a program is traced for: the platform, its memory, and whether blocks are computed again.

Operations have forms of their own for XLA:CPU. Which one is traced depends on this module's
contexts, and those are part of jit's key: a program traced inside one is never served outside it.
"""

import functools
from contextlib import AbstractContextManager
from typing import NamedTuple

import jax

from sr_jax.ops.rows import image_devices


class Target(NamedTuple):
    """A device that need not be there.

    Attributes:
        platform: 'cpu', 'gpu' or 'tpu'; 'any' for the textbook forms, which all of them run.
        memory: bytes of one device; 0 where that is not known.
    """

    platform: str
    memory: int = 0


_target = jax.make_user_context(None)
_remat = jax.make_user_context(False)
_loops = jax.make_user_context(False)


def traced_for(target: Target) -> AbstractContextManager[None]:
    """Inside it, programs are traced for that device in place of JAX's default one."""
    return _target(target)


def target() -> Target:
    """The device that is traced for: JAX's default one unless inside `traced_for`."""
    return _target.value or _default_target()


def platform() -> str:
    """The platform of `target`."""
    return target().platform


def for_one_cpu() -> bool:
    """Whether what is traced is for one CPU, and so in the forms that are fast there."""
    return platform() == "cpu" and image_devices() == 1


def rematerialisation(enabled: bool) -> AbstractContextManager[None]:
    """While a network is traced: whether its backward pass computes repeated blocks again.

    Then only what goes from block to block is kept: less memory, more time, the same values.
    """
    return _remat(enabled)


def rematerialises() -> bool:
    """Whether `rematerialisation` is on."""
    return _remat.value


def kept_loops() -> AbstractContextManager[None]:
    """While a network is traced: repeated blocks stay loops.

    They compile sooner and run a little slower than unrolled ones, which is for programs that few
    images use. The values are the same.
    """
    return _loops(True)


def keeps_loops() -> bool:
    """Whether `kept_loops` is on."""
    return _loops.value


@functools.cache
def _default_target() -> Target:
    device = jax.local_devices()[0]
    stats = device.memory_stats() if device.platform != "cpu" else None
    return Target(jax.default_backend(), int((stats or {}).get("bytes_limit", 0)))


@functools.cache
def compiler_options() -> dict[str, str]:
    """What to pass to `jax.jit(compiler_options=...)` for networks of convolutions.

    XLA:CPU hands float32 convolutions to single-threaded YNNPACK fusions; sending them to
    multi-threaded Eigen instead makes training steps 2 to 3 times faster. Other backends, and
    versions of jaxlib that do not know the option, get none.
    """
    if jax.default_backend() != "cpu":
        return {}
    options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
    try:
        jax.jit(lambda x: x + 1, compiler_options=options).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return options
