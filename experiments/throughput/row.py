"""One row of the table, measured in the process that this module is run as.

The parent, `python -m experiments.throughput`, passes a request as JSON and reads the answer from
the last line of what is printed.
"""

import gc
import importlib.metadata
import json
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import torch

from experiments.harness import LONG_RUN, forget_peak, interleave, physical_memory, resident
from experiments.throughput import engines, floors, ours, pytorch
from experiments.throughput.contenders import TOLERANCES, Contender, check_equal
from experiments.throughput.networks import ENGINES, Cell, columns
from experiments.throughput.pytorch import LAYOUTS, Format
from experiments.throughput.results import arrange
from experiments.throughput.rounds import Rounds, interleave_near
from experiments.throughput.timing import bandwidth, column, peaks
from sr_jax.interop.torch import from_torch
from sr_jax.memory import give_back, keep_freed
from sr_jax.ops.target import compiler_options

# Of the measured peak, what a network is expected to reach when a run's time is to be known
# beforehand.
EXPECTED_SHARE = 0.4


class Limits(NamedTuple):
    """What a row may take.

    Attributes:
        budget: seconds of timing, all columns together; three rounds are timed in any case.
        compile: seconds for PyTorch's compiler, of each column.
        seconds: no run is done that is expected to take longer, but for those that the table
            always has (`Cell.always`).
        bytes: no run is done that is expected to take more memory.
    """

    budget: float
    compile: float
    seconds: float = float("inf")
    bytes: float = float("inf")


def measure(
    cell: Cell,
    limits: Limits,
    *,
    best: Mapping[str, float] | None = None,
    bytes_per_second: float | None = None,
    without: Sequence[str] = (),
    make: Callable[..., Contender] | None = None,
    tolerance: float | None = None,
) -> dict[str, Any]:
    """The row of a cell; experiments/throughput/README.md describes its fields.

    Args:
        cell: what to measure.
        limits: what it may take.
        best: flops a second of each library's matrix product; None measures them.
        bytes_per_second: of a large array, see `timing.bandwidth`, which None measures.
        without: columns that are left out.
        make: takes the place of `build`.
        tolerance: of the columns' outputs; None is the one of the precision.
    """
    prepare()
    load = os.getloadavg()[0]
    best = best or peaks(cell.dtype, accelerator=on_accelerator())
    costs = {algorithm: pytorch.cost(cell, algorithm) for algorithm in cell.network.algorithms}
    flops = {"ours": floors.flops(cell), **{name: cost.flops for name, cost in costs.items()}}
    # Until it is compiled, our program is taken to need what the leanest twin does.
    size = {name: cost.peak_bytes for name, cost in costs.items()}
    size["ours"] = min(size.values())
    longest = float("inf") if cell.always else limits.seconds
    dear = {}
    for name in flops:
        seconds = flops[name] / (EXPECTED_SHARE * best["jax" if name == "ours" else "pytorch"])
        dear[name] = seconds > longest or size[name] > limits.bytes
    if dear["ours"] or all(dear[name] for name in costs):  # nothing to compare
        dear = dict.fromkeys(dear, True)
        size["ours"] = ours.temporary_bytes(cell)
    estimates = {
        name: f"not run: estimated {flops[name] / 1e9:,.1f} GFLOP and {size[name] / 1e9:.2f} GB"
        for name in flops
    }
    row: dict[str, Any] = cell.key() | {
        "input": list(cell.input_size),
        "scale": cell.network.scale,
        "timed": describe(cell),
        "load_before": load,
        "flops": flops,
        "estimated_bytes": size,
        "peak_gflops_per_second": {name: value / 1e9 for name, value in best.items()},
        "floors": {
            "arithmetic": flops["ours"] / best["jax"],
            "traffic": floors.layer_bytes(cell) / (bytes_per_second or bandwidth()),
        },
        "tolerance": TOLERANCES[_precision(cell)] if tolerance is None else tolerance,
    }
    names = {k: v for k, v in columns(cell).items() if k not in without}
    entries = {name: {"status": estimates[names[name]]} for name in names if dear[names[name]]}
    sides = prepare_sides(cell)
    wanted = [name for name in names if name not in entries]
    timed, round_trips = compare(
        wanted,
        lambda name, layout: (make or build)(cell, name, sides, layout, limits.compile),
        row["tolerance"],
        limits.budget,
    )
    entries |= timed
    for name in wanted:
        if "samples" in entries[name]:
            peak = best["jax" if names[name] == "ours" else "pytorch"]
            samples, far = entries[name].pop("samples"), entries[name].pop("far")
            entries[name] |= column(samples, cell.batch, flops[names[name]], peak)
            if far:
                entries[name] |= {"far_median": statistics.median(far), "far_runs": len(far)}
    if any(round_trips):
        row["core_round_trips"] = round_trips
    return row | arrange({name: entries[name] for name in names})


def compare(
    names: Sequence[str],
    build: Callable[[str, str], Contender],
    tolerance: float,
    budget: float,
) -> tuple[dict[str, dict[str, Any]], list[float]]:
    """Builds the contenders, refuses to time what is not equal, and times them in turns.

    Args:
        names: of the columns, 'ours' first; a compiled one after its eager ones.
        build: makes a contender from its name and the memory layout of a compiled one.
        tolerance: see `contenders.check_equal`.
        budget: seconds of timing.

    Returns:
        By name: `status`, and where it is 'measured', `samples` and `far` (seconds, see
        `rounds.Rounds`), `compile_seconds`, `temporary_bytes`, `relative_error` (against the first
        column) and `layout`. And the round trips between the cores, on a CPU.

    Raises:
        ValueError: two columns compute different things.
    """
    entries: dict[str, dict[str, Any]] = {}
    runs: dict[str, Callable[[], Any]] = {}
    warm: dict[str, float] = {}
    reference: Mapping[str, np.ndarray] = {}
    for name in names:
        side, _, how = name.partition(".")
        layout = how
        if how == "compiled":  # in the layout that suits eager mode better
            layout = min(LAYOUTS, key=lambda each: warm.get(f"{side}.{each}", float("inf")))
        try:
            contender = build(name, layout)
            start = time.perf_counter()
            result = contender.result()
            warm[name] = time.perf_counter() - start
            if warm[name] < LONG_RUN:
                start = time.perf_counter()
                contender.run()
                warm[name] = time.perf_counter() - start
        except Exception as error:
            outside = how == "compiled" or side in ("engine", "reduced", "per_core")
            entries[name] = {"status": reason(error, outside=outside)}
            gc.collect()
            continue
        reference = reference or result
        # How far coarser arithmetic leads depends on the network, and is told.
        allowed = float("inf") if side == "reduced" else tolerance
        entries[name] = {
            "status": "measured",
            "relative_error": check_equal(name, result, reference, allowed),
            "compile_seconds": contender.compile_seconds,
            "temporary_bytes": contender.temporary_bytes,
            "program_bytes": contender.program_bytes,
            "layout": layout,
        }
        runs[name] = contender.run
    rounds = Rounds({}, {}, [])
    if on_accelerator():
        rounds = Rounds(interleave(runs, budget), {}, [])
    elif runs:
        rounds = interleave_near(runs, budget)
    for name, samples in rounds.samples.items():
        entries[name] |= {"samples": samples, "far": rounds.far.get(name, [])}
    return entries, rounds.round_trips


def reason(error: Exception, *, outside: bool) -> str:
    """Why a column has no figures.

    Raises:
        Exception: the error itself, if it is none that is expected.
    """
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if re.search("OutOfMemory|RESOURCE_EXHAUSTED|t allocate memory|MemoryError|bfc_arena", text):
        return "out of memory"
    if outside:  # PyTorch's compiler fails in many ways, and tells of them in pages
        late = re.search(pytorch.TOO_LONG.format(r"\d+"), " ".join(map(str, _causes(error))))
        return f"not available: {late[0] if late else text[:200]}"
    raise error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was raised for."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


class Sides(NamedTuple):
    """What all contenders of a row share: weights and images."""

    twins: dict[str, tuple[Any, ...]]
    ours: tuple[ours.Side, ...]
    images: np.ndarray
    targets: np.ndarray


def prepare_sides(cell: Cell) -> Sides:
    """The same random weights, images and targets for both sides."""
    twins = {
        algorithm: pytorch.randomised(cell, pytorch.twins_of(cell, algorithm))
        for algorithm in cell.network.algorithms
    }
    makers = (ours.model_of, ours.discriminator_of)
    first = next(iter(twins.values()))
    sides = tuple(
        ours.Side(make(cell), from_torch(pytorch.numpy_state(twin))[1])
        for make, twin in zip(makers, first, strict=False)
    )
    random = np.random.default_rng(0)
    images, targets = (
        random.random((cell.batch, *size, cell.network.n_colors), np.float32)
        for size in (cell.input_size, cell.output_size)
    )
    return Sides(twins, sides, images, targets)


def build(cell: Cell, name: str, sides: Sides, layout: str, compile_limit: float) -> Contender:
    """A contender by the name of its column."""
    training = cell.task == "train"
    if name in ("ours", "per_core.ours"):
        if not training:
            return ours.inference(cell, sides.ours[0], sides.images)
        white = next(iter(sides.twins.values()))[0].rgb_range
        shared = name != "ours"
        if shared and on_accelerator():
            raise ValueError("cores are a CPU's")
        return ours.training(cell, sides.ours, sides.images, sides.targets, white, shared=shared)
    if name.startswith(("engine.", "reduced.")):
        return engines.inference(cell, sides.ours[0], sides.images, layout)
    twins = sides.twins[columns(cell)[name]]
    how = Format(LAYOUTS[layout], name.endswith("compiled"), compile_limit)
    if training:
        return pytorch.training(cell, twins, sides.images, sides.targets, how)
    return pytorch.inference(cell, twins[0], sides.images, how)


def describe(cell: Cell) -> str:
    """What one run is, in words."""
    if cell.task == "inference":
        return "forward pass"
    if cell.network.adversarial:
        return (
            "forward and backward of generator and discriminator (MSE content loss), Adam of both"
        )
    return "forward, L1 loss, backward, Adam"


def peak_memory(cell: Cell, name: str, layout: str, compile_limit: float) -> dict[str, int]:
    """The most memory that a run of one column takes, in a process that runs nothing else.

    Returns:
        `peak_bytes`, of the accelerator, else the resident set of the process while the contender
        runs; then also `before_bytes`, the resident set before it was built.
    """
    prepare()
    sides = prepare_sides(cell)
    before = resident("VmRSS")
    contender = build(cell, name, sides, layout, compile_limit)  # compiles
    if cell.task == "train":
        contender.run()  # PyTorch makes Adam's moments in the first step
    gc.collect()
    if not on_accelerator():
        give_back()  # what compiling took
        forget_peak()
    contender.run()
    if not on_accelerator():
        return {"peak_bytes": resident("VmHWM"), "before_bytes": before}
    if name == "ours":
        return {"peak_bytes": jax.devices()[0].memory_stats()["peak_bytes_in_use"]}
    return {"peak_bytes": torch.cuda.max_memory_allocated()}


def environment() -> dict[str, Any]:
    """Versions and hardware."""
    device = jax.devices()[0]
    found = {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "torch")},
        **{name: _version(name) for name in ENGINES},
        "backend": device.platform,
        "device": _processor() if device.platform == "cpu" else device.device_kind,
        "pytorch_device": str(pytorch.device()),
        "threads": len(os.sched_getaffinity(0)),
        "memory_gigabytes": round(physical_memory() / 1e9),
        "compiler_options": compiler_options(),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }
    if device.platform != "cpu":
        found["float32"] = "TF32 allowed on both sides"
    return found


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def prepare() -> None:
    """Checks that both libraries are on one device, and sets PyTorch's switches."""
    if on_accelerator() != (pytorch.device().type != "cpu"):
        raise ValueError(
            f"JAX runs on {jax.default_backend()} and PyTorch on {pytorch.device()}: install both "
            "for the same device, or set JAX_PLATFORMS=cpu or CUDA_VISIBLE_DEVICES="
        )
    keep_freed()  # as our commands do, for all columns
    # XLA has a thread for every core that the process may run on.
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True


def on_accelerator() -> bool:
    """Whether JAX has one."""
    return jax.default_backend() != "cpu"


def _precision(cell: Cell) -> str:
    return "tf32" if on_accelerator() and cell.dtype == "float32" else cell.dtype


def main(request: dict[str, Any]) -> dict[str, Any]:
    """Answers a request of the parent: `environment`, `machine`, `row` or `memory`."""
    if request["ask"] == "environment":
        return environment()
    if request["ask"] == "machine":
        prepare()
        best = peaks(request["dtype"], accelerator=on_accelerator())
        return {"best": best, "bytes_per_second": bandwidth()}
    cell = Cell(**request["cell"] | {"size": tuple(request["cell"]["size"])})
    limits = Limits(**request["limits"])
    if request["ask"] == "row":
        at_best = request["at_best"] or {}
        return measure(cell, limits, without=request["without"], **at_best)
    return peak_memory(cell, request["column"], request["layout"], limits.compile)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
