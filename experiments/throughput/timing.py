"""Timing in turns, and what the machine can do at best."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

MIN_ROUNDS = 3
PAUSE = 0.01  # seconds in which the other library's threads stop spinning
TURN = 0.25  # seconds that a contender runs before the next one does
LONG_RUN = 5.0  # seconds of a run that needs no other one before it to warm up


def interleave(
    runs: Mapping[str, Callable[[], Any]],
    budget: float,
    *,
    min_rounds: int = MIN_ROUNDS,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Gives every contender a turn in each round, until the budget is spent.

    So whatever else the machine does meanwhile falls on all of them. In its turn a contender runs
    again and again for a quarter of a second; the first run, which finds the caches full of the
    others' data, their threads awake and its own memory given back to the system, does not count
    unless it is a long one.

    Args:
        runs: each waits for its own result; they have been warmed up.
        budget: seconds, of all of them together.
        min_rounds: that many in any case.
        clock: seconds.

    Returns:
        Seconds of every run, by name.
    """
    samples: dict[str, list[float]] = {name: [] for name in runs}
    begin, rounds = clock(), 0
    while rounds < min_rounds or clock() - begin < budget:
        for name, run in runs.items():
            time.sleep(PAUSE)
            turn = clock()
            run()
            end = clock()
            if end - turn >= LONG_RUN:
                samples[name].append(end - turn)
                continue
            while True:
                start = clock()
                run()
                end = clock()
                samples[name].append(end - start)
                if end - turn >= TURN:
                    break
        rounds += 1
    return samples


def summary(samples: list[float], images: int, flops: int, peak: float) -> dict[str, Any]:
    """What a column says about its samples.

    Args:
        samples: seconds of each run.
        images: of one run.
        flops: of one run.
        peak: flops a second of the same library's matrix product.
    """
    median = statistics.median(samples)
    return {
        "status": "measured",
        "median": median,
        "min": min(samples),
        "max": max(samples),
        "samples": samples,
        "images_per_second": images / median,
        "gflops_per_second": flops / median / 1e9,
        "share_of_peak": flops / median / peak,
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
    samples = interleave(runs, 0, min_rounds=5)
    return {name: 2 * side**3 / min(seconds) for name, seconds in samples.items()}
