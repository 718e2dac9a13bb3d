"""ONNX: one file for ONNX Runtime, OpenVINO, TensorRT and others."""

import json
from typing import Any

import jax
import numpy as np

from sr_jax.export.graph import Graph, Tensor, is_static
from sr_jax.export.program import Program, greatest_difference
from sr_jax.export.translation import translate

OPSET = 18
IR_VERSION = 10  # of ONNX 1.16 on
NCHW = (0, 3, 1, 2)
INPUT, OUTPUT = "image", "upscaled"


def to_onnx(program: Program) -> tuple[bytes, str]:
    """The program as an ONNX file, once ONNX Runtime's result was compared with the network's.

    Its input `image` and its output `upscaled` are float32 (N, C, H, W) of nominal range [0, 1];
    the result is neither clipped nor rounded. `Program.facts` are in the file's metadata.

    Returns:
        (the file's content, the comparison in words).

    Raises:
        ValueError: an operation that has no form in ONNX; the result differs from the network's.
        ImportError: onnx or onnxruntime is missing.
    """
    import onnx
    import onnxruntime

    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        jaxpr = jax.make_jaxpr(program.function)(program.images)
        shape = program.images.shape
        graph = Graph(INPUT, [shape[axis] for axis in NCHW])
        (result,) = translate(graph, jaxpr, [Tensor(INPUT, shape, NCHW)])
    (out,) = jaxpr.out_avals
    last = graph.named(graph.full(result, out.shape), NCHW)
    graph.needed(last)
    helper = onnx.helper
    nodes = [
        helper.make_node(operation, inputs, [output], **attributes)
        for operation, inputs, output, attributes in graph.nodes
    ]
    nodes.append(helper.make_node("Identity", [last], [OUTPUT]))
    proto = helper.make_model(
        helper.make_graph(
            nodes,
            program.facts["architecture"],
            [helper.make_tensor_value_info(INPUT, onnx.TensorProto.FLOAT, _dims(shape))],
            [helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, _dims(out.shape))],
            [onnx.numpy_helper.from_array(a, name) for name, a in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="sr_jax",
    )
    helper.set_model_props(proto, {name: json.dumps(v) for name, v in program.facts.items()})
    onnx.checker.check_model(proto, full_check=True)
    content = proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(images: np.ndarray) -> np.ndarray:
        (found,) = session.run([OUTPUT], {INPUT: images.transpose(NCHW)})
        return found.transpose(0, 2, 3, 1)

    worst, shapes = greatest_difference(program, run)
    version = onnxruntime.__version__
    words = f"{worst:.1e} of the largest value on noise of {' and '.join(shapes)}"
    return content, f"{words}, ONNX Runtime {version}"


def _dims(shape: tuple[Any, ...]) -> list[int | str]:
    """The sizes of an NHWC shape in ONNX's order; free ones by name."""
    sizes = (shape[axis] for axis in NCHW)
    return [size if is_static(size) else str(size) for size in sizes]
