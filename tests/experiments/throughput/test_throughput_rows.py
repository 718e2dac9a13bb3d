"""The comparison with PyTorch: what is timed, refused or estimated; contenders are made up."""

import contextlib
import dataclasses
import os
import time
from typing import Any

import jax
import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from rows import made_up

from experiments import harness
from experiments.throughput import cores, engines, floors, pytorch, rounds, row
from experiments.throughput.contenders import Contender, check_equal, errors
from experiments.throughput.networks import NETWORKS, NINE, REDUCED, Cell, cells, columns


def test_every_network_has_its_rows() -> None:
    """The nine in both tasks, all sizes; bfloat16 where there is an accelerator."""
    assert " ".join(NINE) == "srcnn vdsr srresnet srgan edsr mdsr rcan san csnln"
    rows = list(cells(list(NETWORKS), quick=False, accelerator=False))
    assert len(rows) == 7 * len(NETWORKS)
    assert {cell.dtype for cell in rows} == {"float32"}
    assert [cell.model for cell in rows[: len(NETWORKS)]] == list(NETWORKS)  # all, before the rest
    rcan = [cell for cell in rows if cell.model == "rcan"]
    sizes = [(cell.size, cell.batch) for cell in rcan if cell.task == "inference"]
    squares = [((48, 48), 1), ((128, 128), 1), ((48, 48), 16), ((256, 256), 1)]
    assert sizes == [*squares, ((480, 640), 1)]
    steps = [(cell.size, cell.batch) for cell in rcan if cell.task == "train"]
    assert steps == [((48, 48), 16), ((48, 48), 1)]
    assert len(list(cells(list(NINE), quick=True, accelerator=True))) == 2 * 2 * 9
    short = cells(["rcan"], quick=False, short=True, accelerator=False)
    squares.remove(((48, 48), 16))
    assert [(c.size, c.batch) for c in short if c.task == "inference"] == squares


def test_interpolated_networks_take_the_output_grid() -> None:
    assert Cell("vdsr", "inference", (48, 48), 1).input_size == (96, 96)
    assert Cell("vdsr", "train", (41, 41), 16).input_size == (41, 41)
    assert Cell("vdsr", "train", (41, 41), 16).output_size == (41, 41)
    assert Cell("srresnet", "train", (24, 24), 16).output_size == (96, 96)


def test_unequal_outputs_are_not_timed() -> None:
    """The error is relative to the contrast of the output, which a mean shift would hide."""
    expected = {"output": 100 + np.linspace(-1, 1, 50)}
    near, far = ({"output": expected["output"] + error} for error in (1e-6, 1e-3))
    assert check_equal("eager", near, expected, 1e-4)["output"] < 1e-5
    with pytest.raises(ValueError, match=r"eager computes something else.*output.*tolerated 1e-04"):
        check_equal("eager", far, expected, 1e-4)
    with pytest.raises(ValueError, match="something else"):
        check_equal("eager", {"output": near["output"] * np.nan}, expected, 1e-4)
    with pytest.raises(ValueError, match="shape"):
        check_equal("eager", {"output": np.zeros(3)}, expected, 1e-4)


def contender(value: float, failure: Exception | None = None) -> Contender:
    def result() -> dict[str, np.ndarray]:
        if failure:
            raise failure
        return {"output": np.array([value, 2.0])}

    return Contender(lambda: None, result)


def test_a_column_that_fails_says_why_and_an_unequal_one_stops_the_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(harness, "TURN", 0.0)
    names = ["ours", "pytorch.eager", "pytorch.channels_last", "pytorch.compiled"]

    def build(name: str, layout: str) -> Contender:
        if name == "pytorch.channels_last":
            return contender(1.0, RuntimeError("DefaultCPUAllocator: can't allocate memory"))
        if name == "pytorch.compiled":
            assert layout == "eager"  # the other layout did not run
            return contender(1.0, RuntimeError("InvalidCxxCompiler:\n no working compiler"))
        return contender(1.0)

    entries, round_trips = row.compare(names, build, 1e-4, 0)
    assert len(round_trips) == 4  # around three rounds
    assert [len(entries[name]["samples"]) for name in names[:2]] == [3, 3]
    assert entries["pytorch.channels_last"] == {"status": "out of memory"}
    status = entries["pytorch.compiled"]["status"]
    assert status == "not available: RuntimeError: InvalidCxxCompiler: no working compiler"

    late = RuntimeError("BackendCompilerFailed: compiling takes more than 12 s While executing")
    assert row.reason(late, outside=True) == "not available: compiling takes more than 12 s"
    waited = RuntimeError("a future did not complete")
    waited.__context__ = TimeoutError("compiling takes more than 12 s")
    assert row.reason(waited, outside=True) == "not available: compiling takes more than 12 s"

    with pytest.raises(ValueError, match=r"pytorch.eager computes something else"):
        row.compare(names[:2], lambda name, _: contender(float(name == "ours")), 1e-4, 0)
    with pytest.raises(RuntimeError, match="a bug of ours"):
        row.compare(names[:1], lambda *_: contender(1.0, RuntimeError("a bug of ours")), 1e-4, 0)


def test_ratio_is_the_best_median_of_pytorch_over_ours() -> None:
    cell = Cell("edsr", "inference", (48, 48), 1)
    found = made_up(cell, ours=2.0, pytorch_eager=6.0, pytorch_channels_last=3.0)
    assert found["ratio"] == 1.5
    assert found["pytorch"]["compiled"]["status"].startswith("not available")
    assert "official" not in found
    cell = Cell("csnln", "inference", (48, 48), 1)
    found = made_up(cell, ours=2.0, official_eager=8.0, official_compiled=7.0, pytorch_eager=3.0)
    assert (found["ratio"], found["ratio_official"], found["ratio_same_algorithm"]) == (
        1.5,
        3.5,
        1.5,
    )
    assert made_up(cell, official_eager=8.0)["ratio"] is None


def test_engines_have_a_ratio_of_their_own() -> None:
    """They are compared where they run: inference of one image, float32."""
    cell = Cell("csnln", "inference", (48, 48), 1)
    medians = {"ours": 2.0, "pytorch_eager": 3.0, "engine_onnxruntime": 8.0, "engine_openvino": 5.0}
    found = made_up(cell, **medians, reduced_openvino_int8=1.0)
    assert (found["ratio"], found["ratio_engine"]) == (1.5, 2.5)  # of float32 alone
    assert "engine" in found
    for other in (Cell("edsr", "train", (48, 48), 1), Cell("edsr", "inference", (48, 48), 16)):
        assert "engine" not in made_up(other, ours=2.0)


def test_a_device_for_each_core_takes_the_same_step() -> None:
    """Its ratio stands beside that of one device, and does not become it."""
    cell = Cell("srcnn", "train", (33, 33), 2 * jax.device_count())
    assert list(columns(cell))[:2] == ["ours", "per_core.ours"]
    assert "per_core.ours" not in columns(Cell("srcnn", "train", (33, 33), 1))
    sides = row.prepare_sides(cell)
    one, each = (row.build(cell, name, sides, "", 1) for name in ("ours", "per_core.ours"))
    check_equal("per_core.ours", each.result(), one.result(), row.TOLERANCES["float32"])
    each.run()
    found = made_up(cell, ours=3.0, per_core_ours=2.0, pytorch_eager=6.0)
    assert (found["ratio"], found["ratio_per_core"]) == (2.0, 3.0)


@pytest.mark.filterwarnings("ignore:os.fork")  # by OpenVINO, of which JAX warns
@pytest.mark.parametrize("column", REDUCED)
def test_engines_in_less_than_float32_compute_nearly_the_same(column: str) -> None:
    """SRCNN: 8 bits of a mantissa, or 256 values for a layer; and none computes in float32."""
    cell = Cell("srcnn", "inference", (16, 24), 1)
    sides = row.prepare_sides(cell)
    expected = row.build(cell, "ours", sides, "", 1).result()
    try:
        found = row.build(cell, f"reduced.{column}", sides, column, 1).result()
    except ValueError as error:
        if str(error) != engines.NO_BFLOAT16:
            raise
        pytest.skip(str(error))
    assert 1e-3 < errors(found, expected)["output"] < 0.1


def test_quantisation_that_would_keep_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system would end the process, and all columns of the row with it."""
    pytest.importorskip("onnxruntime")
    cell = Cell("srcnn", "inference", (16, 24), 1)
    side = row.prepare_sides(cell).ours[0]
    # Maps of 64 and 32 channels, without bias and after the ReLU, and the result without bias.
    maps = (2 * (64 + 32) + 1) * 32 * 48 * 4
    images = np.zeros((1, 32, 48, 1), np.float32)
    memory = round(maps / engines.MOST_KEPT)
    monkeypatch.setattr(engines, "physical_memory", lambda: memory - 8)
    with pytest.raises(MemoryError, match=r"keeps 0\.0 GB") as caught:
        engines.inference(cell, side, images, REDUCED[0])
    assert row.reason(caught.value, outside=True) == "out of memory"
    monkeypatch.setattr(engines, "physical_memory", lambda: memory + 8)
    engines.inference(cell, side, images, REDUCED[0])


def row_of(
    cell: Cell, limits: row.Limits, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The row on a machine of 1 GFLOP/s; contenders are made up, and named in `built`."""
    monkeypatch.setattr(row, "prepare_sides", lambda _: None)
    return row.measure(
        cell,
        limits,
        best={"jax": 1e9, "pytorch": 1e9},
        make=lambda _, name, *__: built.append(name) or contender(1.0),
    )


def test_what_takes_too_long_is_estimated_and_stays_in_the_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is run; operations and bytes of both sides are in the row."""
    built: list[str] = []
    cell, limits = Cell("srcnn", "inference", (48, 144), 2), row.Limits(1, 1, seconds=0.01)
    found = row_of(cell, limits, built, monkeypatch)
    assert not built
    pixels = 96 * 288
    flops = 2 * 2 * 8032 * pixels  # images, weights times pixels of the interpolated image
    assert found["flops"] == {"ours": flops, "plain": flops}
    features = 4 * pixels * (64 + 32)
    assert found["estimated_bytes"]["plain"] > 2 * features
    assert found["estimated_bytes"]["ours"] > features  # of one image, then the other
    for entry in (found["ours"], *found["pytorch"].values()):
        assert entry["status"].startswith("not run: estimated 0.9 GFLOP and 0.0")
    assert found["ratio"] is None


def test_small_images_are_timed_whatever_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inference up to 128x128; a training step of that size is not."""
    cell, limits = Cell("srcnn", "inference", (128, 128), 1), row.Limits(0, 1, seconds=0.01)
    assert row_of(cell, limits, [], monkeypatch)["ratio"] > 0
    assert not Cell("srcnn", "train", (33, 33), 1).always


def test_the_limit_of_the_compiler_holds_where_its_error_is_dropped() -> None:
    """As Python drops an error that is raised while an object is finalised."""
    how = pytorch.Format(torch.contiguous_format, True, compile_limit=0.1)

    def drop_the_first() -> None:
        with contextlib.suppress(TimeoutError):
            time.sleep(60)
        time.sleep(60)

    start = time.perf_counter()
    with pytest.raises(TimeoutError, match="compiling takes more than 0 s"):
        pytorch.compile_seconds(drop_the_first, how)
    assert time.perf_counter() - start < 30


def test_costs_of_training_steps() -> None:
    """Three forward passes; PyTorch's count is without the gradient by the image, used by none."""
    cell = Cell("srcnn", "train", (33, 33), 2)
    forward = 2 * 2 * 8032 * 33 * 33
    assert floors.flops(cell) == 3 * forward
    found = pytorch.cost(cell, "plain")
    assert found.flops == 3 * forward - 2 * 2 * 81 * 64 * 33 * 33
    weights, activations = 8129, 2 * 33 * 33 * (64 + 32)
    assert found.peak_bytes > 4 * (4 * weights + activations)  # gradient and moments as well


def test_traffic_is_what_the_layers_read_and_write() -> None:
    pixels, weights = 2 * 33 * 33, 8032
    maps = (1 + 64) + (64 + 32) + (32 + 1)  # of each of the three layers
    training = Cell("srcnn", "train", (33, 33), 2)
    assert floors.layer_bytes(training) == 3 * 4 * (maps * pixels + weights)


def test_only_the_dense_formulation_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours and the same algorithm in PyTorch are compared all the same."""
    small = {"n_resgroups": 1, "n_resblocks": 1}
    network = dataclasses.replace(NETWORKS["san"], hyperparameters=small)
    monkeypatch.setitem(NETWORKS, "san", network)
    cell = Cell("san", "inference", (256, 256), 1)
    official, same = (pytorch.cost(cell, name) for name in ("official", "same_algorithm"))
    assert official.peak_bytes > 4 * 256**4 > 10 * same.peak_bytes  # the centring matrix
    assert 0.9 < same.flops / floors.flops(cell) < 1.1
    built: list[str] = []
    limits = row.Limits(0, 1, bytes=(official.peak_bytes + same.peak_bytes) / 2)
    found = row_of(cell, limits, built, monkeypatch)
    same_algorithm = ["pytorch.eager", "pytorch.channels_last", "pytorch.compiled"]
    whole = ["engine.onnxruntime", "engine.openvino"]
    reduced = ["onnxruntime_int8", "openvino_int8", "openvino_bfloat16"]
    assert built == ["ours", *same_algorithm, *whole, *(f"reduced.{name}" for name in reduced)]
    assert {e["status"] for e in found["official"].values()} == {
        f"not run: estimated {official.flops / 1e9:,.1f} GFLOP and "
        f"{official.peak_bytes / 1e9:.2f} GB"
    }
    assert found["ratio"] > 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:os.fork")  # by OpenVINO, of which JAX warns
@pytest.mark.parametrize(
    ("model", "task"),
    [(model, "train") for model in NINE] + [("vdsr", "inference"), ("mdsr", "inference")],
)
def test_both_sides_compute_the_same(model: str, task: str) -> None:
    """At full depth, in float32: outputs, or losses and gradients, within the tolerances."""
    cell = Cell(model, task, (24, 24), 1)
    sides = row.prepare_sides(cell)
    names = [name for name in columns(cell) if not name.endswith("compiled")]
    names = [name for name in names if not name.startswith("reduced")]
    found = [
        row.build(cell, name, sides, name.partition(".")[2], compile_limit=1).result()
        for name in names
    ]
    for name, result in zip(names[1:], found[1:], strict=True):
        check_equal(name, result, found[0], row.TOLERANCES["float32"])


def test_a_byte_goes_from_core_to_core() -> None:
    """Soon, if the cores are free; with a single core there is no other one."""
    free = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, sorted(free)[:1])
        assert cores.latency() == 0
        assert os.sched_getaffinity(0) == set(sorted(free)[:1])
    finally:
        os.sched_setaffinity(0, free)
    if len(free) > 1:
        assert 0 < cores.latency() < 0.1
        assert os.sched_getaffinity(0) == free


def test_another_process_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a measurement that never ends."""
    monkeypatch.setattr(cores, "MOST_LOOKS", 0)
    if len(os.sched_getaffinity(0)) > 1:
        with pytest.raises(RuntimeError, match="does not answer"):
            cores.latency()
        monkeypatch.setattr(cores.sys, "executable", "false")
        with pytest.raises(RuntimeError, match="ended with 1"):
            cores.latency()


@pytest.mark.parametrize(
    ("trips", "kept", "far"),
    [
        ([2, 2, 2, 2], [0, 1, 2], []),
        ([2, 2, 5, 2, 2, 2], [0, 3, 4], [1, 2]),  # within its patience
        ([5, 5, 5, 5, 5, 5, 5, 5], [0, 1, 2, 3, 4, 5, 6], []),  # nothing to tell apart
    ],
)
def test_rounds_on_far_cores_are_apart(
    trips: list[int], kept: list[int], far: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round is far if its cores were far before it or after it; each takes 6 s here."""
    now, round_trips = 0.0, iter(trips)
    monkeypatch.setattr(rounds, "latency", lambda: next(round_trips) * 1e-7)
    monkeypatch.setattr(harness.time, "sleep", lambda _: None)

    def run() -> None:
        nonlocal now
        now += 6.0 + int(now / 6.0) / 100  # so that samples tell their round

    found = rounds.interleave_near({"a": run}, budget=13.0, clock=lambda: now)
    numbers = [
        [round(100 * (seconds - 6)) for seconds in samples.get("a", [])]
        for samples in (found.samples, found.far)
    ]
    assert numbers == [kept, far]
    assert found.round_trips == [1e-7 * trip for trip in trips]
