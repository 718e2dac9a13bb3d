"""The tables of experiments/programs, from its rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.harness import table

ORDER = (
    ["srcnn", "vdsr", "srresnet", "srgan", "edsr_baseline", "edsr", "mdsr", "rcan", "san", "csnln"],
    ["before", "textbook", "ours"],
)
CLOCK = 1.5e9  # cycles a second of a TPU v5e
PEAK = 197e12  # operations a second, bfloat16, by Cloud TPU's documentation
GPU_HEAD = [
    "network",
    "program",
    "fused",
    "and ReLU",
    "alone",
    "input",
    "weight",
    "products",
    "moves (MiB)",
    "others",
    "loops",
    "temporaries, MiB",
    "compile, s",
]
TPU_HEAD = [
    "network",
    "chips",
    "dtype",
    "convolutions",
    "kernels",
    "moves (MiB)",
    "collectives",
    "memory a chip, GiB",
    "M cycles",
    "ms",
    "share of the peak",
    "compile, s",
]
TITLES = {
    ("train", "float32"): "Training step, the recipe's patches and batch, float32",
    ("train", "bfloat16"): "Training step, bfloat16",
    ("forward", "float32"): "Forward pass, one image of 512 x 512, float32",
    ("forward", "bfloat16"): "Forward pass, bfloat16",
}


def write_report(rows: Sequence[dict[str, Any]], platform: str, path: Path) -> None:
    """Writes the page of a platform."""
    found = [row for row in rows if row["platform"] == platform]
    lines = [
        f"# What XLA makes of the networks for {'an H100' if platform == 'gpu' else 'TPU v5e'}"
    ]
    versions = sorted({(row["jax"], row["commit"], row["form"]) for row in found})
    lines += ["", "Compiled without a device, on two CPU cores, with other work beside it:"]
    lines += [f"- {form}: jax {jax}, commit {commit}" for jax, commit, form in versions]
    for (task, dtype), title in TITLES.items():
        chosen = [row for row in found if (row["task"], row["dtype"]) == (task, dtype)]
        chosen.sort(key=_place)
        if not chosen:
            continue
        head, cells = (GPU_HEAD, _gpu) if platform == "gpu" else (TPU_HEAD, _tpu)
        lines += ["", f"## {title}", "", *table(head, map(cells, chosen))]
    part = path.with_suffix(".part")
    part.write_text("\n".join(lines) + "\n")
    part.rename(path)


def _place(row: dict[str, Any]) -> tuple[int, int, int]:
    networks, forms = ORDER
    return networks.index(row["network"]), forms.index(row["form"]), row["chips"]


def _gpu(row: dict[str, Any]) -> list[Any]:
    kinds = ("fused", "fused with ReLU", "forward", "input gradient", "weight gradient")
    return [
        row["network"],
        row["form"],
        *(row["convolutions"].get(kind, 0) for kind in kinds),
        row["products"],
        _moves(row),
        row["others"],
        ", ".join(map(str, row["loops"])) or "none",
        f"{row['temporaries MiB']:,.0f}",
        row["compile s"],
    ]


def _tpu(row: dict[str, Any]) -> list[Any]:
    seconds = row["cycles"] / CLOCK
    collectives = (
        f"{number} {kind} {size / 1e6:.2f} MB"
        for kind, (number, size) in row["collectives"].items()
    )
    memory = (row["temporaries MiB"] + row["arguments MiB"]) / 1024
    return [
        row["network"],
        row["chips"],
        row["dtype"],
        sum(row["convolutions"].values()),
        row["kernels"],
        _moves(row),
        ", ".join(collectives) or "none",
        f"{memory:.2f}",
        f"{row['cycles'] / 1e6:.1f}",
        f"{1e3 * seconds:.1f}",
        f"{row['GFLOP'] * 1e9 / seconds / PEAK:.0%}" if seconds else "",
        row["compile s"],
    ]


def _moves(row: dict[str, Any]) -> str:
    return f"{row['moves']} ({row['moved MiB']:,.0f})" if row["moves"] else "0"
