"""The goldens of tests/goldens: the official code in float64, on weights made by name."""

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "goldens"

# Case -> the architecture that its tensors are recognised as.
CASES = {
    "srcnn_915_y": "srcnn_915",
    "vdsr_y_nobias": "vdsr_nobias",
    "vdsr_y_bias": "vdsr",
    "srresnet_x4": "srresnet",
    "srgan_disc": "srgan_discriminator",
    "edsr_baseline_x2": "edsr_baseline",
    "edsr_full_x4": "edsr",
    "mdsr_full_x2": "mdsr",
    "rcan_x4": "rcan",
    "san_x4": "san",
    "csnln_x2": "csnln",
}


class Golden(NamedTuple):
    """One parity file: arrays, metadata, and the PyTorch state dict rebuilt from its recipe."""

    arrays: Any
    meta: dict[str, Any]
    state_dict: dict[str, np.ndarray]

    @property
    def white(self) -> int:
        """What white is in the official network's input; ours takes 1."""
        return 255 if self.meta["input_kind"] == "rgb255" else 1


def read(path: Path) -> Golden:
    """Rebuilds every weight from its name's hash, as the goldens' README prescribes.

    Raises:
        ValueError: the weights are not those of the file.
    """
    arrays = np.load(path)
    state_dict = {}
    digest = hashlib.sha256()
    fields = (arrays[key] for key in ("names", "shapes", "modes", "offsets", "scales"))
    for name, shape, mode, offset, scale in zip(*fields, strict=True):
        if mode == "const":
            state_dict[str(name)] = arrays[f"const:{name}"]
            continue
        seed = zlib.crc32(str(name).encode()) ^ int(arrays["base_seed"])
        normal = np.random.default_rng(seed & 0xFFFFFFFF).standard_normal(
            tuple(int(size) for size in shape if size >= 0)
        )
        if mode == "abs":
            normal = np.abs(normal)
        state_dict[str(name)] = (offset + scale * normal).astype(np.float32)
        digest.update(state_dict[str(name)].tobytes())
    meta = json.loads(bytes(arrays["meta_json"]))
    if digest.hexdigest() != meta["weights_sha256"]:
        raise ValueError(f"{path}: numpy's random stream has changed")
    return Golden(arrays, meta, state_dict)


def relative_error(value: Any, reference: np.ndarray) -> float:
    """Norm of the difference over the reference's norm, in float64."""
    difference = np.asarray(value, np.float64) - reference
    return float(np.linalg.norm(difference) / np.linalg.norm(np.asarray(reference, np.float64)))


def nhwc(array: np.ndarray) -> np.ndarray:
    """Images from PyTorch's order of axes; logits stay."""
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
