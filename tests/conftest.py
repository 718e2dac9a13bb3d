"""What all tests share: where the reference material lies, and how goldens are read."""

import hashlib
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

# Tests compile anew what they test, and leave the user's cache folder alone. Read by JAX when it is
# imported, here and in the processes that tests start.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "0"

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"
GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """`shared("data/benchmarks/Set5")`: that path beside the checkout, or a skip that says so."""

    def find(subpath: str) -> Path:
        path = SHARED / subpath
        if not path.exists():
            pytest.skip(f"reference material {path} is not on this machine")
        return path

    return find


class Golden(NamedTuple):
    """One parity file: arrays, metadata, and the PyTorch state dict rebuilt from its recipe."""

    arrays: Any
    meta: dict[str, Any]
    state_dict: dict[str, np.ndarray]


@pytest.fixture
def golden() -> Callable[[str], Golden]:
    """`golden("edsr_baseline_x2")`: from tests/goldens, else from shared/goldens, else a skip."""

    def find(case: str) -> Golden:
        for folder in (GOLDENS, SHARED / "goldens"):
            if (folder / f"{case}.npz").exists():
                return _rebuild(folder / f"{case}.npz")
        return pytest.skip(f"golden {case}.npz is in neither tests/goldens nor shared/goldens")

    return find


def _rebuild(path: Path) -> Golden:
    """Rebuilds every weight from its name's hash, as the goldens' README prescribes."""
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
    assert digest.hexdigest() == meta["weights_sha256"], "numpy's random stream has changed"
    return Golden(arrays, meta, state_dict)
