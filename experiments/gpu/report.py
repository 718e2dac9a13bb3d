"""results.json as tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.harness import table
from experiments.throughput.networks import FORMATS


def write_report(found: Mapping[str, Any], path: Path) -> None:
    """Writes the page, whole or not at all."""
    stages = found["stages"]
    lines = ["# A run on a card", "", f"Conditions: {found['conditions']}"]
    writers = {"card": _card, "correctness": _correctness, "speed": _speed, "vdsr": _training}
    for name, stage in stages.items():
        if stage["items"]:
            write = writers.get(name, _training)
            lines += ["", f"## {name}", "", *write(stage["items"])]
    part = path.with_suffix(".part")
    part.write_text("\n".join(lines) + "\n")
    part.rename(path)


def _card(items: Mapping[str, Any]) -> list[str]:
    return table(["what", "found"], [(name, _rest(answer)) for name, answer in items.items()])


def _correctness(items: Mapping[str, Any]) -> list[str]:
    head = ["case", "output", "tolerance", "gradient", "tolerance", "right"]
    fields = ("output", "tolerance", "gradient", "gradient_tolerance")
    rows = []
    for name, answer in items.items():
        numbers = [f"{answer[field]:.1e}" if field in answer else "" for field in fields]
        rows.append([name, *numbers, answer.get("right", answer["status"])])
    return table(head, rows)


def _speed(items: Mapping[str, Any]) -> list[str]:
    head = ["row", "ours, ms", *(f"{how}, ms" for how in FORMATS), "ratio", "share of peak"]
    head += ["ours, MiB", "PyTorch, MiB"]
    rows = []
    for name, answer in items.items():
        if answer["status"] != "measured":
            rows.append([name, answer["status"], *[""] * (len(head) - 2)])
            continue
        ours = answer["ours"]
        theirs = [answer.get("pytorch", {}).get(how, {}) for how in FORMATS]
        known = [column["median"] for column in theirs if "median" in column]
        ratio = min(known) / ours["median"] if known and "median" in ours else None
        rows.append(
            [
                name,
                _milliseconds(ours),
                *map(_milliseconds, theirs),
                f"{ratio:.2f}" if ratio else "",
                f"{ours['share_of_peak']:.0%}" if "share_of_peak" in ours else "",
                f"{(ours.get('program_bytes') or 0) / 2**20:,.0f}",
                f"{answer['pytorch_peak_bytes'] / 2**20:,.0f}",
            ]
        )
    return table(head, rows)


def _training(items: Mapping[str, Any]) -> list[str]:
    lines = table(["what", "found"], [(name, _rest(answer)) for name, answer in items.items()])
    for answer in items.values():
        if "rows" in answer:
            lines += ["", *_scores(answer["rows"], answer["published"])]
    return lines


def _scores(rows: Sequence[Mapping[str, Any]], published: Mapping[str, float]) -> list[str]:
    """PSNR in dB, with the paper's figure for each scale."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    found = {(row["scale"], row["method"]): f"{row['psnr']:.2f}" for row in rows}
    cells = [
        [f"x{scale}", *(found.get((int(scale), method), "") for method in methods), figure]
        for scale, figure in published.items()
    ]
    return table(["scale", *(f"{method}, dB" for method in methods), "paper, dB"], cells)


def _milliseconds(column: Mapping[str, Any]) -> str:
    if "median" in column:
        return f"{1e3 * column['median']:.2f}"
    return str(column.get("status", ""))


def _rest(answer: Mapping[str, Any]) -> str:
    tables = ("rows", "published")  # in `_scores`
    return ", ".join(f"{key} {_number(answer[key])}" for key in answer if key not in tables)


def _number(value: Any) -> Any:
    return f"{value / 1e9:,.0f}e9" if isinstance(value, float) and value > 1e9 else value
