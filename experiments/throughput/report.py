"""Tables and plots from a file of results: python -m experiments.throughput.report FILE.json"""

import statistics
from pathlib import Path
from typing import Annotated, Any

import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.harness import MEGABYTE, table
from experiments.throughput.networks import ENGINES, FORMATS, NETWORKS, REDUCED
from experiments.throughput.results import read

TIMES = ["network", "task", "LR size", "batch", "dtype", "ours", "device per core", *FORMATS]
TIMES += [
    "ratio",
    "ratio, device per core",
    "ratio, far cores",
    "official, best",
    "ratio to official",
    "ratio of same algorithm",
]
OTHERS = ["network", "task", "LR size", "batch", "dtype", "ours"]
OTHERS += [*(f"{name}: s, MB" for name in ENGINES), "ratio", "ratio, far cores"]
COARSER = ["network", "task", "LR size", "batch", "ours, float32"]
COARSER += [f"{name.replace('_', ', ')}: s, MB, error" for name in REDUCED]
LEFT_OUT = {"status": "left out"}  # of a quick run
RESOURCES = ["network", "task", "LR size", "batch", "dtype", "images/s", "GFLOP/s", "share of peak"]
RESOURCES += ["PyTorch's share", "arithmetic, s", "traffic, s", "floor share"]
RESOURCES += ["cores, ns", "compiling, s", "PyTorch's", "peak memory, MB", "PyTorch's"]


def write(path: Path) -> list[Path]:
    """Writes <name>.md, <name>-ratio.png and <name>-memory.png beside a file of results."""
    results = read(path)
    rows = in_order(results["rows"])
    written = [path.with_suffix(".md")]
    written[0].write_text(markdown(results["conditions"], rows))
    measured = [row for row in rows if row["ratio"] is not None]
    known = [r for r in measured if "peak_bytes" in r["ours"] and "peak_bytes" in fastest_of(r)]
    plots = (("ratio", draw_ratios, measured), ("memory", draw_memory, known))
    for name, draw, drawn in plots:
        if drawn:
            figure = Figure(figsize=(8, 1.5 + 0.3 * len(drawn)), layout="constrained")
            draw(figure.subplots(), drawn)
            written.append(path.with_name(f"{path.stem}-{name}.png"))
            figure.savefig(written[-1], dpi=120)
    return written


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The order of the table, whatever order they were measured in."""
    names = list(NETWORKS)

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        coarse = row["dtype"] != "float32"
        return names.index(row["model"]), coarse, row["task"], row["batch"], row["size"]

    return sorted(rows, key=place)


def markdown(conditions: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Two tables, of times and of resources, and the conditions of the measurement."""
    peaks: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.get("peak_gflops_per_second", {}).items():
            peaks.setdefault(name, []).append(value)
    best = ", ".join(f"{name} {min(v):.0f} to {max(v):.0f} GFLOP/s" for name, v in peaks.items())
    loads = [row["load_before"] for row in rows if "load_before" in row]
    told = [f"{name} {value}" for name, value in conditions.items() if value not in ("", {})]
    commits: dict[str, list[str]] = {}
    for row in rows:
        networks = commits.setdefault(row.get("commit", "unknown"), [])
        networks += [] if row["model"] in networks else [row["model"]]
    told += [f"commit {commit} ({', '.join(names)})" for commit, names in commits.items()]
    paragraphs = [
        "Seconds, median (min to max) of interleaved runs; ratio: the best of all PyTorch's "
        "columns over ours, above 1 we are faster. Device per core: the same training step, its "
        "batch shared by a JAX device for each core (docs/training.md). Rows with figures under "
        "`cores, ns` tell near rounds from far ones, in which a byte took long from core to core "
        "(rounds.py). Their medians are of near rounds, if there were three; `ratio, far cores` is "
        "of the others.",
        "\n".join(table(TIMES, map(times, rows))),
        *engines(rows),
        *coarser(rows),
        "Ours, and PyTorch's fastest column beside it. Share: of a large matrix product's speed "
        f"in the same library ({best}). Two floors: all multiply-adds as one large matrix product, "
        "and what every layer reads and writes, each array once, as one pass through memory. "
        "Winograd's form needs fewer multiply-adds, and what stays in the caches no memory. Floor "
        "share: the larger one over our time. Cores: a byte's way from one to another and back, "
        "between two Python processes, median (least to most). Memory: of a process that runs "
        "nothing else.",
        "\n".join(table(RESOURCES, (resources(r) for r in rows if r["ratio"] is not None))),
        "Load average of the machine before each row, its own earlier work included: "
        f"{min(loads, default=0):.1f} to {max(loads, default=0):.1f}. Where others take the cores,"
        " PyTorch's threads, which wait for one another, lose more than ours.",
        "; ".join(told) + ".",
    ]
    return "\n\n".join(paragraphs) + "\n"


def times(row: dict[str, Any]) -> list[str]:
    """A line of the table of times."""
    official = row.get("official", {})
    measured = [name for name in official if "median" in official[name]]
    fastest = min(measured, key=lambda name: official[name]["median"], default="")
    # Beside the fastest, why there is no other: a format that failed is not hidden by one that ran.
    told = [f"{fastest} {seconds(official[fastest])}"] if fastest else []
    told += sorted({f"{n} {seconds(e)}" for n, e in official.items() if n not in measured})
    return [
        *_name(row),
        seconds(row["ours"]),
        seconds(row["per_core"]["ours"]) if "per_core" in row else "",
        *(seconds(row["pytorch"].get(name, LEFT_OUT)) for name in FORMATS),
        _factor(row["ratio"]),
        _factor(row.get("ratio_per_core")),
        _factor(row.get("ratio_far")),
        "; ".join(told),
        _factor(row.get("ratio_official")),
        _factor(row.get("ratio_same_algorithm")),
    ]


def engines(rows: list[dict[str, Any]]) -> list[str]:
    """The paragraph and the table of inference engines; none where no row has any."""
    lines = [
        [
            *_name(row),
            seconds(row["ours"]),
            *(_with_memory(row["engine"][name]) for name in ENGINES),
            _factor(row["ratio_engine"]),
            _factor(row.get("ratio_engine_far")),
        ]
        for row in rows
        if "engine" in row
    ]
    if not lines:
        return []
    told = (
        "Inference engines, which run our export in turns with the columns above, and their peak "
    )
    return [
        f"{told}memory; ratio: the faster one's median over ours.",
        "\n".join(table(OTHERS, lines)),
    ]


def coarser(rows: list[dict[str, Any]]) -> list[str]:
    """The paragraph and the table of engines in less than float32; none where no row has any."""
    lines = [
        [
            *_name(row)[:-1],
            seconds(row["ours"]),
            *(_with_error(row["reduced"][name]) for name in REDUCED),
        ]
        for row in rows
        if "reduced" in row
    ]
    if not lines:
        return []
    told = "The same engines in less than float32, which no ratio is made with, their peak memory "
    return [f"{told}and the relative error of their images.", "\n".join(table(COARSER, lines))]


def _with_error(entry: dict[str, Any]) -> str:
    error = entry.get("relative_error", {}).get("output")
    return _with_memory(entry) + ("" if error is None else f", {error:.1e}")


def _with_memory(entry: dict[str, Any]) -> str:
    return seconds(entry) + (f", {_peak(entry):.0f} MB" if "peak_bytes" in entry else "")


def resources(row: dict[str, Any]) -> list[str]:
    """A line of the table of resources."""
    ours, theirs = row["ours"], fastest_of(row)
    floors = row.get("floors", {"arithmetic": "", "traffic": ""})
    compiled = [
        entry["compile_seconds"]
        for side in ("pytorch", "official")
        if (entry := row.get(side, {}).get("compiled", {})).get("compile_seconds")
    ]
    return [
        *_name(row),
        f"{ours['images_per_second']:.3g}",
        f"{ours['gflops_per_second']:.3g}",
        f"{ours['share_of_peak']:.0%}",
        f"{theirs['share_of_peak']:.0%}",
        *(f"{value:.3g}" if "floors" in row else "" for value in floors.values()),
        f"{max(floors.values()) / ours['median']:.0%}" if "floors" in row else "",
        _round_trips(row.get("core_round_trips", [])),
        f"{ours['compile_seconds']:.1f}",
        " and ".join(f"{value:.1f}" for value in compiled),
        *(f"{_peak(entry):.0f}" if "peak_bytes" in entry else "" for entry in (ours, theirs)),
    ]


def fastest_of(row: dict[str, Any]) -> dict[str, Any]:
    """PyTorch's column of the least median."""
    entries = [e for side in ("pytorch", "official") for e in row.get(side, {}).values()]
    return min((e for e in entries if "median" in e), key=lambda e: e["median"])


def seconds(entry: dict[str, Any]) -> str:
    """A column's time, or why there is none."""
    if entry["status"] != "measured":
        return entry["status"]
    return f"{entry['median']:.3g} ({entry['min']:.3g} to {entry['max']:.3g})"


def line(row: dict[str, Any]) -> str:
    """A row in a line, for the terminal."""
    ratio = f"ratio {row['ratio']:.2f}" if row["ratio"] else ""
    return "  ".join([*_name(row), seconds(row["ours"]), ratio])


def draw_ratios(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Bars of the ratios, and a line at 1."""
    labels, ratios = [" ".join(_name(row)) for row in rows], [row["ratio"] for row in rows]
    colors = ["tab:green" if ratio >= 1 else "tab:red" for ratio in ratios]
    axes.barh(labels, ratios, color=colors)
    for row, label in zip(rows, labels, strict=True):
        if row.get("ratio_official"):
            axes.plot(row["ratio_official"], label, "k|", markersize=10)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel("PyTorch's best median over ours (mark: the published formulation's)")


def draw_memory(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Bars of the peak memory of ours and of PyTorch's fastest column."""
    places = range(len(rows))
    sides = {
        "ours": [_peak(row["ours"]) for row in rows],
        "PyTorch's fastest": [_peak(fastest_of(row)) for row in rows],
    }
    for offset, (label, values) in zip((-0.2, 0.2), sides.items(), strict=True):
        axes.barh([place + offset for place in places], values, height=0.4, label=label)
    axes.set_yticks(places, [" ".join(_name(row)) for row in rows])
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel("peak memory of the process, MB")
    axes.legend()


def _name(row: dict[str, Any]) -> list[str]:
    height, width = row["size"]
    return [row["model"], row["task"], f"{height}x{width}", str(row["batch"]), row["dtype"]]


def _round_trips(seconds: list[float]) -> str:
    if not seconds:
        return ""
    values = statistics.median(seconds), min(seconds), max(seconds)
    return "{:.0f} ({:.0f} to {:.0f})".format(*(1e9 * value for value in values))


def _peak(entry: dict[str, Any]) -> float:
    return entry["peak_bytes"] / MEGABYTE


def _factor(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def main(path: Annotated[Path, typer.Argument(metavar="FILE.json", exists=True)]) -> None:
    """Writes a table and plots beside a file of results."""
    for written in write(path):
        print(written)


if __name__ == "__main__":
    typer.run(main)
