"""The MATLAB files in which SRCNN and VDSR were published, as PyTorch state dicts.

What is read here goes on through `sr_jax.interop.torch.from_torch`, which checks it tensor by
tensor.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from sr_jax.interop.layout import Fields


def read(path: str | Path) -> tuple[dict[str, np.ndarray], Fields]:
    """Reads the authors' weights of SRCNN or VDSR.

    SRCNN: `weights_conv1` (k1 * k1, n1), `weights_conv2` (n1, k2 * k2, n2), `weights_conv3`
    (n2, k3 * k3), kernels column by column, and `biases_conv1..3`; the authors' test code pads by
    repeating the border. VDSR (as huangzehao/caffe-vdsr keeps it): a struct `model` of cells
    `weight` (k, k, in, out) and `bias`; zero padding.

    Args:
        path: a .mat file of MATLAB 5 to 7.2.

    Returns:
        The state dict, in the names of yjn870's SRCNN or of the EDSR repository's VDSR, and the
        hyper-parameters that the format implies. SRCNN's scale is not among them: the files do not
        tell it.

    Raises:
        ValueError: unreadable file, or neither of the two networks; SciPy is not installed.
    """
    try:
        import scipy.io
    except ImportError:
        raise ValueError("reading .mat files needs SciPy: pip install scipy") from None
    try:
        content = scipy.io.loadmat(path)
    except Exception as error:  # a damaged file raises almost anything
        raise ValueError(f"{path} is not a readable MATLAB file: {error}") from None
    content = {name: value for name, value in content.items() if not name.startswith("__")}
    try:
        if "weights_conv1" in content:
            return _srcnn(content), {"padding": "replicate"}
        if "model" in content:
            return _vdsr(content["model"]), {}
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"{path} is damaged or of another make: {error}") from None
    raise ValueError(
        f"{path} holds {', '.join(content) or 'nothing'}; expected SRCNN's weights_conv1, ... or "
        "VDSR's model"
    )


def _srcnn(content: dict[str, Any]) -> dict[str, np.ndarray]:
    first, second, third = (content[f"weights_conv{i}"] for i in (1, 2, 3))
    kernels = (
        _square(first.T[:, None]),
        _square(second.transpose(2, 0, 1)),
        _square(third[None]),
    )
    state_dict = {}
    for i, kernel in enumerate(kernels, 1):
        state_dict[f"conv{i}.weight"] = kernel
        state_dict[f"conv{i}.bias"] = content[f"biases_conv{i}"].ravel()
    return state_dict


def _square(kernels: np.ndarray) -> np.ndarray:
    """(out, in, k * k), each kernel column by column, to (out, in, k, k)."""
    side = math.isqrt(kernels.shape[-1])
    return kernels.reshape(*kernels.shape[:2], side, side).swapaxes(2, 3)


def _vdsr(model: np.ndarray) -> dict[str, np.ndarray]:
    weights, biases = (model[field][0, 0].ravel() for field in ("weight", "bias"))
    state_dict = {}
    for i, (kernel, bias) in enumerate(zip(weights, biases, strict=True)):
        # MATLAB drops a last axis of length 1.
        kernel = kernel.reshape(*kernel.shape, *(1,) * (4 - kernel.ndim))
        state_dict[f"body.{i}.0.weight"] = kernel.transpose(3, 2, 0, 1)
        state_dict[f"body.{i}.0.bias"] = bias.ravel()
    return state_dict
