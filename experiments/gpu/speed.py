"""Forward passes and training steps, ours against plain PyTorch on the same card."""

import functools
from typing import Any

from experiments.gpu.serving import serve

# An early end leaves the telling rows.
ORDER = [
    "edsr_baseline",
    "vdsr",
    "rcan",
    "csnln",
    "srresnet",
    "edsr",
    "mdsr",
    "san",
    "srcnn",
    "srgan",
]
FORWARD = {"forward 48x16": ((48, 48), 16), "forward 256x1": ((256, 256), 1)}
SMALL = ("srcnn", "vdsr")


def items(small: bool) -> list[str]:
    """'NETWORK TASK DTYPE', in order of worth: training first, then both forward passes."""
    networks = SMALL if small else ORDER
    rows = [
        f"{network} {task} {dtype}"
        for task, dtype in (
            ("train", "float32"),
            ("forward 48x16", "float32"),
            ("train", "bfloat16"),
            ("forward 48x16", "bfloat16"),
            ("forward 256x1", "float32"),
            ("forward 256x1", "bfloat16"),
        )
        for network in networks
    ]
    return rows[:2] if small else rows


def measure(item: str, options: dict[str, Any]) -> dict[str, Any]:
    """A row of experiments/throughput, and the memory of both sides."""
    import torch

    from experiments.throughput.networks import Cell
    from experiments.throughput.row import Limits
    from experiments.throughput.row import measure as measure_row

    network, *task, dtype = item.split()
    cell = _cell(network, " ".join(task), dtype, options["small"], Cell)
    on_card = torch.cuda.is_available()
    if on_card:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    limits = Limits(options["budget"], options["compile_limit"])
    row = measure_row(cell, limits, best=ceilings(dtype))
    row["pytorch_peak_bytes"] = torch.cuda.max_memory_allocated() if on_card else 0
    return row


@functools.cache
def ceilings(dtype: str) -> dict[str, float]:
    """Operations a second of each library's matrix product, measured once a child."""
    import jax

    from experiments.throughput.timing import peaks

    return peaks(dtype, accelerator=jax.default_backend() != "cpu")


def _cell(network: str, task: str, dtype: str, small: bool, cell: Any) -> Any:
    from experiments.throughput.networks import NETWORKS

    if task != "train":
        size, batch = ((24, 24), 1) if small else FORWARD[task]
        return cell(network, "inference", size, batch, dtype)
    # The batches of the recipes.
    batch = {"srcnn": 128, "vdsr": 64, "san": 8}.get(network, 16)
    side = NETWORKS[network].patch
    return cell(network, "train", (side, side), 2 if small else batch, dtype)


if __name__ == "__main__":
    serve(measure)
