"""The columns of inference engines, which run what `sr-jax export` writes."""

import os
import time
from collections.abc import Callable, Mapping

import jax
import numpy as np

from experiments.throughput.contenders import Contender
from experiments.throughput.networks import Cell
from experiments.throughput.ours import Side
from sr_jax.export.onnx import INPUT, NCHW, OUTPUT, to_onnx
from sr_jax.export.program import make_program


def inference(cell: Cell, side: Side, images: np.ndarray, engine: str) -> Contender:
    """The forward pass by an engine, on all cores.

    Args:
        cell: what to time.
        side: the network.
        images: (N, H, W, C) in [0, 1].
        engine: one of `ENGINES`.

    Raises:
        ValueError: on an accelerator; the network has no export.
        ImportError: the engine is not installed.
    """
    if jax.default_backend() != "cpu":
        raise ValueError("compared on a CPU alone")
    scale = cell.network.scale if side.model.scales else None
    program = make_program(side.model, side.variables, scale=scale, size=cell.input_size)
    content, _ = to_onnx(program)
    start = time.perf_counter()
    run = ENGINES[engine](content, np.ascontiguousarray(images.transpose(NCHW)))
    run()
    seconds = time.perf_counter() - start

    def result() -> Mapping[str, np.ndarray]:
        return {"output": run().transpose(0, 2, 3, 1)}

    return Contender(run, result, seconds)


def _onnxruntime(content: bytes, images: np.ndarray) -> Callable[[], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda: session.run([OUTPUT], {INPUT: images})[0]


def _openvino(content: bytes, images: np.ndarray) -> Callable[[], np.ndarray]:
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": len(os.sched_getaffinity(0)),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda: request.infer({0: images}, share_inputs=True)[0]


ENGINES = {"onnxruntime": _onnxruntime, "openvino": _openvino}
