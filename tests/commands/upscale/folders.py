"""What the tests of `sr-jax upscale` put into folders and find in them."""

from pathlib import Path

import numpy as np


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def outputs(folder: Path) -> list[str]:
    """The files in a folder, but for the record of what was done."""
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in found if not name.startswith(".sr_jax-"))
