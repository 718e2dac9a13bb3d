"""Made-up rows of the comparison with PyTorch."""

from typing import Any

import pytest

pytest.importorskip("torch")

from experiments.throughput import results
from experiments.throughput.networks import Cell, columns
from experiments.throughput.timing import column

ENVIRONMENT = {"backend": "cpu", "jax": "1.0", "torch": "2.0"}


def measured(median: float) -> dict[str, Any]:
    """A column as a row has it."""
    samples = [0.9 * median, median, 1.1 * median]
    entry = column(samples, images=1, flops=10**9, peak=1e11)
    return entry | {"layout": "eager", "compile_seconds": 2.0, "peak_bytes": 2**28}


def made_up(cell: Cell, **medians: float) -> dict[str, Any]:
    """A row; columns without a median are not available."""
    entries = {
        name: measured(medians[name.replace(".", "_")])
        if name.replace(".", "_") in medians
        else {"status": "not available: no C++ compiler"}
        for name in columns(cell)
    }
    peak = {"peak_gflops_per_second": {"jax": 100.0, "pytorch": 90.0}, "load_before": 0.1}
    return cell.key() | peak | results.arrange(entries)
