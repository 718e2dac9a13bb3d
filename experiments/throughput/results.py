"""The file of results: rows, and under what conditions they were measured."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from experiments.harness import one_a_line
from experiments.throughput.networks import Cell, columns
from sr_jax.storage import write_bytes

KEY = ("model", "task", "size", "batch", "dtype")  # what a row is known by


def arrange(entries: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Columns in their places in the row, and the ratios between them.

    `ratio` is PyTorch's best median, of any algorithm, over ours: above 1 we are faster. Where the
    published formulation has columns, `ratio_official` and `ratio_same_algorithm` tell the two.
    `ratio_engine` is that of the fastest inference engine in float32, `ratio_per_core` PyTorch's
    best over ours with a device for each core. `ratio_far` and `ratio_engine_far` are those of
    rounds with far cores, where there were any.

    Args:
        entries: by the names of `networks.columns`.
    """
    row: dict[str, Any] = {}
    for name, entry in entries.items():
        side, _, how = name.partition(".")
        if how:
            row.setdefault(side, {})[how] = entry
        else:
            row[side] = entry
    ratios = _ratios(entries, "median")
    engine, per_core = ratios.pop("engine", None), ratios.pop("per_core", None)
    found = {"ratio": min(ratios.values(), default=None)}
    if per_core and found["ratio"]:
        found["ratio_per_core"] = found["ratio"] / per_core
    if "engine" in row:
        found["ratio_engine"] = engine
    if "official" in row:
        found["ratio_official"] = ratios.get("official")
        found["ratio_same_algorithm"] = ratios.get("pytorch")
    far = _ratios(entries, "far_median")
    far.pop("per_core", None)
    if "engine" in far:
        found["ratio_engine_far"] = far.pop("engine")
    if far:
        found["ratio_far"] = min(far.values())
    return found | row


def _ratios(entries: Mapping[str, dict[str, Any]], field: str) -> dict[str, float]:
    """The fastest column of each side over ours; none of those in less than float32."""
    best: dict[str, float] = {}
    for name, entry in entries.items():
        side = name.partition(".")[0]
        if field in entry and side != "reduced":
            best[side] = min(entry[field], best.get(side, float("inf")))
    mine = best.pop("ours", None)
    return {side: median / mine for side, median in best.items()} if mine else {}


def entry_of(row: dict[str, Any], name: str) -> dict[str, Any]:
    """A column of a row by its name in `networks.columns`."""
    side, _, how = name.partition(".")
    return row[side][how] if how else row[side]


def without_figures(cell: Cell, status: str) -> dict[str, Any]:
    """The row of a cell that gave none."""
    return cell.key() | arrange({name: {"status": status} for name in columns(cell)})


def read(path: Path) -> dict[str, Any]:
    """`conditions` and `rows` of a file.

    Raises:
        ValueError: it is no file of ours.
        OSError: it cannot be read.
    """
    try:
        results = json.loads(path.read_text())
        whole = isinstance(results["conditions"], dict) and all(
            {*KEY, "ratio", "ours"} <= row.keys() for row in results["rows"]
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise ValueError(f"{path} is no file of throughput results")
    return results  # type: ignore[no-any-return]


def start(path: Path, conditions: dict[str, Any], fresh: Collection[str]) -> dict[str, Any]:
    """Results to go on with: those of the file if there is one, else none.

    Rows may come from several commits, which they name.

    Args:
        path: the file.
        conditions: versions, hardware and settings of this run.
        fresh: networks whose rows are thrown away; and all rows measured under other conditions.

    Returns:
        `conditions` and `rows`.

    Raises:
        ValueError: the file was measured under other conditions, or is none of ours.
    """
    empty: dict[str, Any] = {"conditions": conditions, "rows": []}
    if not path.exists():
        return empty
    try:
        results = read(path)
    except ValueError as error:
        if fresh:
            return empty
        message = f"{error}: give another --output, or --fresh to replace it"
        raise ValueError(message) from error
    before = results["conditions"]
    results["rows"] = [row for row in results["rows"] if row["model"] not in fresh]
    differing = [
        f"{name} {before.get(name)} (now {conditions.get(name)})"
        for name in sorted(before.keys() | conditions.keys())
        if before.get(name) != conditions.get(name)
    ]
    if differing and fresh:
        return empty
    if differing:
        raise ValueError(
            f"{path} was measured with {', '.join(differing)}: give another --output, or --fresh "
            "to measure everything again"
        )
    return results


def find(results: dict[str, Any], cell: Cell) -> dict[str, Any] | None:
    """The row of a cell, unless it is missing or failed."""
    for row in results["rows"]:
        if row.items() >= cell.key().items() and not row["ours"]["status"].startswith("failed"):
            return row
    return None


def store(path: Path, results: dict[str, Any], cell: Cell, row: dict[str, Any]) -> None:
    """Adds a row, in place of one of the same cell, and writes the file whole."""
    kept = [other for other in results["rows"] if not other.items() >= cell.key().items()]
    results["rows"] = [*kept, row]
    conditions, rows = json.dumps(results["conditions"]), one_a_line(results["rows"]).rstrip()
    write_bytes(path, f'{{"conditions": {conditions},\n"rows": {rows}}}\n'.encode())
