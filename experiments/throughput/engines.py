"""The columns of inference engines, which run what `sr-jax export` writes.

In bfloat16 and int8 they compute something coarser than the other columns: these are marked as
such, and no ratio is made with them.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from experiments.throughput.contenders import Contender
from experiments.throughput.networks import Cell
from experiments.throughput.ours import Side
from sr_jax.export.onnx import INPUT, NCHW, OUTPUT, to_onnx
from sr_jax.export.program import make_program

Run = Callable[[], np.ndarray]
_CALIBRATION = 48  # pixels a side of the part of the image that int8 is calibrated with


def inference(cell: Cell, side: Side, images: np.ndarray, column: str) -> Contender:
    """The forward pass by an engine, on all cores.

    Args:
        cell: what to time.
        side: the network.
        images: (N, H, W, C) in [0, 1].
        column: one of `ENGINES`, or of `REDUCED`.

    Raises:
        ValueError: on an accelerator; the network has no export; the processor has no bfloat16.
        ImportError: the engine is not installed.
    """
    if jax.default_backend() != "cpu":
        raise ValueError("compared on a CPU alone")
    engine, _, precision = column.partition("_")
    images = np.ascontiguousarray(images.transpose(NCHW))
    make = _onnxruntime if engine == "onnxruntime" else _openvino
    content = _export(cell, side, cell.input_size)
    if precision == "int8":
        content = _quantise(cell, side, content, images)
    start = time.perf_counter()
    run = make(content, images, precision)
    run()
    seconds = time.perf_counter() - start

    def result() -> Mapping[str, np.ndarray]:
        return {"output": run().transpose(0, 2, 3, 1)}

    return Contender(run, result, seconds)


def _export(cell: Cell, side: Side, size: tuple[int, int] | None) -> bytes:
    scale = cell.network.scale if side.model.scales else None
    return to_onnx(make_program(side.model, side.variables, scale=scale, size=size))[0]


def _quantise(cell: Cell, side: Side, content: bytes, images: np.ndarray) -> bytes:
    """An export whose convolutions and products are of int8, by ONNX Runtime's static quantisation.

    Calibrated with a part of the image where the export can be of free size: what lies between all
    its layers is kept for that.
    """
    from onnxruntime import quantization

    with contextlib.suppress(ValueError):  # SAN and CSNLN are exported for one size
        content, images = _export(cell, side, None), images[:, :, :_CALIBRATION, :_CALIBRATION]

    class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
        batches = iter([{INPUT: np.ascontiguousarray(images)}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        before.write_bytes(content)
        quantization.quantize_static(
            before,
            after,
            Calibration(),
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
        )
        return after.read_bytes()


def _onnxruntime(content: bytes, images: np.ndarray, precision: str) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    for name, size in zip("nhw", (images.shape[0], *images.shape[2:]), strict=True):
        options.add_free_dimension_override_by_name(name, size)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda: session.run([OUTPUT], {INPUT: images})[0]


def _openvino(content: bytes, images: np.ndarray, precision: str) -> Run:
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": len(os.sched_getaffinity(0)),
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
    }
    core = openvino.Core()
    if precision == "bfloat16" and "BF16" not in core.get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        raise ValueError("the processor has no bfloat16")
    model = core.read_model(content)
    model.reshape(list(images.shape))
    compiled = core.compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    return lambda: request.infer({0: images}, share_inputs=True)[0]
