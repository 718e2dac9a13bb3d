"""What the card is and what it can do at best: copies and matrix products of both libraries."""

import contextlib
import importlib.metadata
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.gpu.serving import serve
from experiments.harness import interleave

ITEMS = ("card", "matmul bfloat16", "matmul tf32", "matmul float32", "copy")
PACKAGES = ("jax", "jaxlib", "jax-cuda13-plugin", "flax", "optax", "orbax-checkpoint", "numpy")


def measure(item: str, options: dict[str, Any]) -> dict[str, Any]:
    """One of `ITEMS`."""
    if item == "card":
        return describe()
    if item == "copy":
        return copy(2**24 if options["small"] else 2**30)
    return product(item.removeprefix("matmul "), 256 if options["small"] else 8192)


def describe() -> dict[str, Any]:
    """Card, driver and versions."""
    fields = "name,driver_version,memory.total,clocks.max.sm,clocks.max.memory,power.limit"
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv"]
    told = "not there"
    with contextlib.suppress(OSError):
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found: dict[str, Any] = {
        "nvidia_smi": told.splitlines(),
        "python": sys.version.split()[0],
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
    }
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    try:
        import torch
    except ImportError as error:
        return found | {"torch": f"not there: {error}"}
    return found | {
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "torch_cudnn": torch.backends.cudnn.version(),
        "torch_device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def copy(size: int) -> dict[str, float]:
    """Bytes a second, read and written, of copying an array in the device's memory.

    Args:
        size: bytes of the array.
    """
    array = jnp.ones(size // 4, jnp.float32)
    duplicate = jax.jit(jnp.copy)
    runs: dict[str, Callable[[], Any]] = {"jax": lambda: jax.block_until_ready(duplicate(array))}
    with contextlib.suppress(ImportError):
        import torch

        from experiments.throughput.pytorch import device

        source = torch.ones(size // 4, device=device())
        target = torch.empty_like(source)

        def run() -> None:
            target.copy_(source)
            if source.is_cuda:
                torch.cuda.synchronize()

        runs["pytorch"] = run
    return {f"{name}_bytes_per_second": 2 * size / each for name, each in best(runs).items()}


def product(precision: str, side: int) -> dict[str, float]:
    """Floating-point operations a second of a product of two square matrices.

    Args:
        precision: 'bfloat16', or float32 in which the hardware rounds to TF32 ('tf32') or not.
        side: of the matrices.
    """
    dtype = "bfloat16" if precision == "bfloat16" else "float32"
    matrix = jax.random.normal(jax.random.key(0), (side, side), jnp.dtype(dtype))
    with (
        jax.default_matmul_precision("highest")
        if precision == "float32"
        else contextlib.nullcontext()
    ):
        multiply = jax.jit(jnp.matmul).lower(matrix, matrix).compile()
    runs: dict[str, Callable[[], Any]] = {
        "jax": lambda: jax.block_until_ready(multiply(matrix, matrix))
    }
    with contextlib.suppress(ImportError):
        import torch

        from experiments.throughput.pytorch import device

        torch.backends.cuda.matmul.allow_tf32 = precision != "float32"
        theirs = torch.randn(side, side, device=device()).to(getattr(torch, dtype))

        def run() -> None:
            torch.matmul(theirs, theirs)
            if theirs.is_cuda:
                torch.cuda.synchronize()

        runs["pytorch"] = run
    return {name: 2 * side**3 / each for name, each in best(runs).items()}


def best(runs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Seconds of the fastest of some interleaved runs, by name."""
    for run in runs.values():
        run()
    return {name: min(seconds) for name, seconds in interleave(runs, 0).items()}


if __name__ == "__main__":
    serve(measure)
