"""Imports run downwards only."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sr_jax"

# Room -> the rooms that it may import. What stands here must not grow upwards.
CELLAR = {"ops", "imaging", "storage", "mesh", "cluster", "memory"}
FLOORS = {
    "ops": {"ops"},
    "storage": set(),
    "pretrained": set(),
    "cluster": set(),
    "memory": set(),
    "mesh": {"ops"},
    "imaging": {"imaging", "storage"},
    "models": {"models", "ops"},
    "hub": set(),
    "weights": {"models", "pretrained", "storage"},
    "modelcard": {"models", "pretrained"},
    "data": {"data", "models", *CELLAR},
    "inference": {"inference", "models", *CELLAR},
    "training": {"training", "hub", "weights", "models", *CELLAR},
    "interop": {"interop", "weights", "models", *CELLAR},
    "evaluation": {"evaluation", "data", "inference", "training", "weights", "models", *CELLAR},
    "scale": {"scale", "evaluation", "data", "inference", "weights", "models", *CELLAR},
    "ranges": {"evaluation", "data", "training"},
    "export": {"export", "models", *CELLAR},
    "opening": {"interop", "training", "hub", "weights", "models", "pretrained", *CELLAR},
    "loading": {"opening", "export", "models"},
    "upscaler": {"opening", "inference", "models", "pretrained", *CELLAR},
    "page": {"page", "opening", "upscaler", "inference", "data", "models", "pretrained", *CELLAR},
    "configuration": {"models"},
    "recipe": {"ranges", "evaluation", "data", "training", "models"},
    "train": {"recipe", "evaluation", "data", "training", "weights", "models", *CELLAR},
}


def rooms_imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            if node.module == "sr_jax":
                names = [f"sr_jax.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("sr_jax.")}
    return found


@pytest.mark.parametrize("room", FLOORS)
def test_imports_run_downwards(room):
    alone = PACKAGE / f"{room}.py"
    files = [alone] if alone.exists() else sorted((PACKAGE / room).rglob("*.py"))
    assert files
    for file in files:
        upwards = rooms_imported(file) - FLOORS[room]
        assert not upwards, f"{file.relative_to(PACKAGE)} imports {', '.join(sorted(upwards))}"


def test_nobody_asks_a_network_by_getattr():
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                asked = node.args[0] if node.args else None
                if node.func.id in ("getattr", "hasattr") and isinstance(asked, ast.Name):
                    assert asked.id not in ("model", "network"), f"{file}: line {node.lineno}"
