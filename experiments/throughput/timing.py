"""What runs say of a column, and what the machine can do at best."""

from collections.abc import Sequence
from typing import Any

from experiments import harness


def column(samples: Sequence[float], images: int, flops: int, peak: float) -> dict[str, Any]:
    """What a column says about its samples.

    Args:
        samples: seconds of each run.
        images: of one run.
        flops: of one run.
        peak: flops a second of the same library's matrix product.
    """
    found = harness.summary(samples)
    speed = flops / found["median"]
    return found | {
        "status": "measured",
        "images_per_second": images / found["median"],
        "gflops_per_second": speed / 1e9,
        "share_of_peak": speed / peak,
    }


def peaks(dtype: str, *, accelerator: bool) -> dict[str, float]:
    """Flops a second of a large matrix product in each library, the best of several in turns."""
    import jax
    import jax.numpy as jnp
    import torch

    from experiments.throughput.pytorch import device
    from sr_jax.ops.target import compiler_options

    side = 8192 if accelerator else 2048
    product = jax.jit(jnp.matmul, compiler_options=compiler_options())
    ours = jax.random.normal(jax.random.key(0), (side, side), jnp.dtype(dtype))
    theirs = torch.randn(side, side, dtype=getattr(torch, dtype), device=device())

    def run_torch() -> None:
        torch.matmul(theirs, theirs)
        if theirs.is_cuda:
            torch.cuda.synchronize()

    runs = {"jax": lambda: jax.block_until_ready(product(ours, ours)), "pytorch": run_torch}
    for run in runs.values():
        run()
    samples = harness.interleave(runs, 0, min_rounds=5)
    return {name: 2 * side**3 / min(seconds) for name, seconds in samples.items()}


def bandwidth() -> float:
    """Bytes a second that are read and written where a large array is changed in place, at best."""
    import jax
    import jax.numpy as jnp

    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    x = jnp.zeros(2**26, jnp.float32)  # more than caches hold

    def run() -> None:
        nonlocal x
        x = jax.block_until_ready(add(x))

    run()
    return 2 * x.nbytes / min(harness.interleave({"add": run}, 0, min_rounds=5)["add"])
