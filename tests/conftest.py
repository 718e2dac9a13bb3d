"""What all tests share: where the reference material lies, and how goldens are read."""

import atexit
import gc
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from experiments.goldens import Golden, read

# Tests compile anew what they test, and leave the user's cache folder alone. Read by JAX when it is
# imported, here and in the processes that tests start.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "0"

# For the length of one run, trainings in processes of their own take from here what another one has
# compiled, whichever worker of pytest started it: see processes.py.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _COMPILED = tempfile.TemporaryDirectory(prefix="sr_jax-tests-compiled-")
    atexit.register(_COMPILED.cleanup)
    os.environ["SR_JAX_TESTS_COMPILED"] = _COMPILED.name

# Tracing makes objects by the million, which live: by default a tenth of the time goes to looking
# for garbage among them.
gc.set_threshold(50_000)

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


@pytest.fixture
def golden() -> Callable[[str], Golden]:
    """`golden("edsr_baseline_x2")`: from tests/goldens, else from shared/goldens, else a skip."""

    def find(case: str) -> Golden:
        for folder in (GOLDENS, SHARED / "goldens"):
            if (folder / f"{case}.npz").exists():
                return read(folder / f"{case}.npz")
        return pytest.skip(f"golden {case}.npz is in neither tests/goldens nor shared/goldens")

    return find


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> str:
    """A weights file of a tiny network with random weights."""
    from helpers import random_variables

    from sr_jax import weights
    from sr_jax.models import create_model

    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    network = create_model("edsr_baseline", scale=2, n_resblocks=1, n_feats=4)
    weights.save(path, network, random_variables(network, 0.2))
    return str(path)
