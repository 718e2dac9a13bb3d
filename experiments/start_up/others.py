"""An image through a network as users of other libraries do it: one process, from file to file.

    python -m experiments.start_up.others onnxruntime|openvino|torch NETWORK FILE IMAGE OUTPUT

Nothing is imported but what the library, the image files and the network need.
"""

import sys

import numpy as np
from PIL import Image


def by_torch(network: str, path: str, images: np.ndarray) -> np.ndarray:
    """PyTorch, eager: the twin and its state dict."""
    import torch

    from experiments.throughput.networks import NETWORKS
    from experiments.twins import create_twin

    known = NETWORKS[network]
    twin = create_twin(known.architecture, **known.hyperparameters).eval()
    twin.load_state_dict(torch.load(path, weights_only=True))
    scale = {"scale": known.scale} if known.architecture == "mdsr" else {}
    highest = getattr(twin, "rgb_range", 1.0)
    with torch.inference_mode():
        result: np.ndarray = twin(highest * torch.from_numpy(images), **scale).numpy()
    return result / highest


def by_onnxruntime(network: str, path: str, images: np.ndarray) -> np.ndarray:
    """ONNX Runtime, with what `sr-jax export` wrote."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {"image": images})[0]
    return result


def by_openvino(network: str, path: str, images: np.ndarray) -> np.ndarray:
    """OpenVINO, with the same file."""
    import openvino

    # Where the processor has bfloat16 that would be its choice.
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    program = openvino.Core().compile_model(path, "CPU", settings)
    result: np.ndarray = program(images)[0]
    return result


ENGINES = {"torch": by_torch, "onnxruntime": by_onnxruntime, "openvino": by_openvino}


def main(engine: str, network: str, path: str, image: str, output: str) -> None:
    """Reads the image, runs the network, writes the result."""
    pixels = np.asarray(Image.open(image), np.float32) / 255
    planes = pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    result = ENGINES[engine](network, path, planes[None])[0]
    rounded = np.rint(255 * result.clip(0, 1)).astype(np.uint8)
    Image.fromarray(rounded[0] if len(rounded) == 1 else rounded.transpose(1, 2, 0)).save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
