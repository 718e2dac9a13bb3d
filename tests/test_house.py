"""Imports run downwards only."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "sr_jax"

# Room -> the rooms that it may import. What stands here must not grow upwards.
FLOORS = {
    "ops": {"ops"},
    "models": {"models", "ops"},
    "imaging": {"imaging"},
    "data": {"data", "imaging", "models", "ops", "sharding"},
    "inference": {"inference", "imaging", "models", "ops", "sharding"},
    "interop": {"interop", "models", "ops", "weights"},
    "training": {"training", "imaging", "models", "ops", "sharding"},
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
    files = sorted((PACKAGE / room).rglob("*.py"))
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
