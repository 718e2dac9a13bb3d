"""The columns of inference engines, which run what `sr-jax export` writes.

In bfloat16 and int8 they compute something coarser than the other columns: these are marked as
such, and no ratio is made with them.
"""

import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import jax
import numpy as np

from experiments.harness import physical_memory
from experiments.throughput.contenders import Contender
from experiments.throughput.networks import Cell
from experiments.throughput.ours import Side
from sr_jax.export.onnx import INPUT, NCHW, OUTPUT, to_onnx
from sr_jax.export.program import make_program

Run = Callable[[], np.ndarray]
QUANTISED = ["Conv", "MatMul", "Gemm"]
MOST_KEPT = 0.8  # of the memory of the machine; the other columns need some too
NO_BFLOAT16 = "the processor has no bfloat16"


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
        MemoryError: quantisation would keep more than `MOST_KEPT` of the machine's memory.
    """
    if jax.default_backend() != "cpu":
        raise ValueError("compared on a CPU alone")
    engine, _, precision = column.partition("_")
    images = np.ascontiguousarray(images.transpose(NCHW))
    scale = cell.network.scale if side.model.scales else None
    program = make_program(side.model, side.variables, scale=scale, size=cell.input_size)
    content, _ = to_onnx(program)
    if precision == "int8":
        if (kept := calibration_bytes(content)) > MOST_KEPT * physical_memory():
            raise MemoryError(f"quantisation keeps {kept / 1e9:.1f} GB")
        content = quantise(content, images)
    start = time.perf_counter()
    if engine == "onnxruntime":
        run = run_onnxruntime(content, images)
    else:
        run = run_openvino(content, images, bfloat16=precision == "bfloat16")
    run()
    seconds = time.perf_counter() - start

    def result() -> Mapping[str, np.ndarray]:
        return {"output": run().transpose(0, 2, 3, 1)}

    return Contender(run, result, seconds)


def calibration_bytes(content: bytes) -> int:
    """What `quantise` keeps in memory to find the ranges: whatever its layers take and give.

    The image and the result are not counted.

    Args:
        content: an ONNX file of one size.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(content)).graph
    layers = [node for node in graph.node if node.op_type in QUANTISED]
    kept = {name for node in layers for name in (*node.input, *node.output)}
    shapes = (value.type.tensor_type.shape for value in graph.value_info if value.name in kept)
    return sum(4 * math.prod(axis.dim_value for axis in shape.dim) for shape in shapes)


def quantise(content: bytes, images: np.ndarray) -> bytes:
    """A model whose convolutions and products are of int8: ONNX Runtime's static quantisation.

    Args:
        content: an ONNX file of one size.
        images: (N, C, H, W) of that size, for the ranges of what the layers take and give.
    """
    from onnxruntime import quantization

    class Calibration(quantization.CalibrationDataReader):  # type: ignore[misc]
        batches = iter([{INPUT: images}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        before.write_bytes(content)
        quantization.quantize_static(
            before,
            after,
            Calibration(),
            op_types_to_quantize=QUANTISED,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
        )
        return after.read_bytes()


def run_onnxruntime(content: bytes, images: np.ndarray) -> Run:
    """A run of an ONNX file by ONNX Runtime on images (N, C, H, W)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda: session.run([OUTPUT], {INPUT: images})[0]


def run_openvino(content: bytes, images: np.ndarray, *, bfloat16: bool) -> Run:
    """A run of an ONNX file by OpenVINO on images (N, C, H, W).

    Raises:
        ValueError: the processor has no bfloat16.
    """
    import openvino

    core = openvino.Core()
    if bfloat16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ValueError(NO_BFLOAT16)
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": len(os.sched_getaffinity(0)),
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
    }
    compiled = core.compile_model(core.read_model(content), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda: request.infer({0: images}, share_inputs=True)[0]
