"""What many chips would train: from the step time of one, the bytes of a step, the link's speed.

    python -m experiments.scaling.prediction --output experiments/scaling/results/prediction.md

reads the training steps of experiments/throughput and the bytes of experiments/scaling, and writes
two tables of images a second: of machines like the one that the steps were timed on, and of TPU
chips whose step time is what a share of their published peak makes of the step's operations.
"""

import json
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from experiments.throughput.networks import NINE

CHIPS = (8, 64, 256)
SHORTEST = 1e-3  # seconds of a step in which starting it is no great part


class Link(NamedTuple):
    """What joins neighbours in a ring.

    Attributes:
        name: for the page.
        speed: bytes a second in each direction.
        latency: seconds of a round.
    """

    name: str
    speed: float
    latency: float


ETHERNET = Link("Ethernet of 10 Gbit/s, 50 us a round", 1.25e9, 50e-6)
# Cloud TPU's documentation of v5e: 197 TFLOP/s in bfloat16; 400 GB/s of all four links, both ways.
TPU_PEAK = 197e12
TPU = Link("one link of TPU v5e each way, 50 GB/s, 1 us a round", 400e9 / 4 / 2, 1e-6)


class Prediction(NamedTuple):
    """Images a second of all chips together.

    Attributes:
        hidden: if communication runs while the backward pass computes.
        waiting: if it begins after it and nothing else runs meanwhile.
    """

    hidden: float
    waiting: float


def images_per_second(
    chips: int,
    images: int,
    step_seconds: float,
    reduced_bytes: float,
    link: float,
    latency: float = 0.0,
    calls: int = 1,
) -> Prediction:
    """Data-parallel training of which every chip takes equally many images.

    A ring all-reduce of B bytes over n chips is 2 (n - 1) rounds, in each of which every chip sends
    B / n bytes to its neighbour. With K all-reduces of B bytes in all, a link of L bytes a second
    and a latency l of a round

        communication = 2 (n - 1) / n * B / L + 2 (n - 1) * K * l
        hidden  = n * images / max(step, communication)
        waiting = n * images / (step + communication)

    The truth lies between both, if the input pipeline keeps up and no chip is slower than others.

    >>> images_per_second(1, 16, 0.5, 6e6, 1e10)
    Prediction(hidden=32.0, waiting=32.0)
    >>> images_per_second(2, 16, 0.5, 5e9, 1e10)
    Prediction(hidden=64.0, waiting=32.0)

    Args:
        chips: n.
        images: of the batch, on each chip.
        step_seconds: of a step with so many images on one chip.
        reduced_bytes: B, of all all-reduces of a step (`measure.communication`).
        link: L, bytes a second that a chip sends in one direction while it receives as many.
        latency: l, seconds.
        calls: K.
    """
    rounds = 2 * (chips - 1)
    communication = rounds / chips * reduced_bytes / link + rounds * calls * latency
    return Prediction(
        chips * images / max(step_seconds, communication),
        chips * images / (step_seconds + communication),
    )


def steps(rows: list[dict[str, Any]], *, timed: bool) -> dict[str, dict[str, Any]]:
    """Each network's training step in float32 with the most images, of those timed or of all."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        wanted = row["task"] == "train" and row["dtype"] == "float32"
        if wanted and (not timed or "median" in row["ours"]):
            found[row["model"]] = max(found.get(row["model"], row), row, key=lambda x: x["batch"])
    return found


def table(
    steps: dict[str, dict[str, Any]],
    seconds: dict[str, float],
    communication: dict[str, dict[str, Any]],
    link: Link,
) -> list[str]:
    """Lines of Markdown: a network's images a second with communication waited for, and hidden."""
    head = ["network", "images a chip", "step of a chip, s", "all-reduced, MB", "1 chip"]
    head += [f"{n} chips" for n in CHIPS]
    lines = [head, ["---"] * len(head)]
    for name, row in steps.items():
        told = communication[name]
        cells = [name, str(row["batch"]), f"{seconds[name]:.3g}", f"{told['bytes'] / 1e6:.3g}"]
        cells.append(_rounded(row["batch"] / seconds[name]))
        for chips in CHIPS:
            found = images_per_second(
                chips, row["batch"], seconds[name], told["bytes"], *link[1:], told["calls"]
            )
            low, high = _rounded(found.waiting), _rounded(found.hidden)
            cells.append(low if low == high else f"{low} to {high}")
        lines.append(cells)
    return [f"| {' | '.join(line)} |" for line in lines]


def _rounded(rate: float) -> str:
    """To three digits, in thousands."""
    return f"{float(f'{rate:.3g}'):,.10g}"


def page(throughput: dict[str, Any], scaling: list[dict[str, Any]], share: float) -> str:
    """The prediction in Markdown."""
    communication = {row["recipe"]: row for row in scaling if row["devices"] == 8}
    place = throughput["conditions"]
    rows = [row for row in throughput["rows"] if row["model"] in communication]
    rows.sort(key=lambda row: list(NINE).index(row["model"]))
    timed, every = steps(rows, timed=True), steps(rows, timed=False)
    measured = {name: row["ours"]["median"] for name, row in timed.items()}
    assumed = {name: row["flops"]["ours"] / (share * TPU_PEAK) for name, row in every.items()}
    every = {name: row for name, row in every.items() if assumed[name] >= SHORTEST}
    return "\n".join(
        [
            "# Images a second of many chips: a prediction",
            "",
            "By `images_per_second` of experiments/scaling/prediction.py, which has the formula:",
            "from communication that waits for the step to that which it hides. No such cluster",
            "was used.",
            "",
            f"## Machines with {place['threads']} threads of {place['device']}, {ETHERNET.name}",
            "",
            "Step times measured by experiments/throughput; the latency is assumed.",
            "",
            *table(timed, measured, communication, ETHERNET),
            "",
            f"## TPU v5e, {TPU.name}",
            "",
            f"Step times ASSUMED: the step's operations at {share:.0%} of the published peak of",
            f"{TPU_PEAK / 1e12:.0f} TFLOP/s (bfloat16); the latency is assumed too. No step was",
            "timed on such a chip, and small networks will be below that share; those whose step",
            f"would take less than {SHORTEST * 1e3:g} ms are left out. One ring is pessimistic for",
            "the many small reductions of batch normalisation (SRResNet, SRGAN): a torus has",
            "shorter ways.",
            "",
            *table(every, assumed, communication, TPU),
            "",
        ]
    )


def main(
    output: Annotated[Path, typer.Option(help="File to write, Markdown.")],
    throughput: Annotated[Path, typer.Option(help="Rows of experiments/throughput.")] = Path(
        "experiments/throughput/results/rows.json"
    ),
    scaling: Annotated[Path, typer.Option(help="Rows of experiments/scaling.")] = Path(
        "experiments/scaling/results/rows.json"
    ),
    share: Annotated[float, typer.Option(help="Of the TPU's peak that a step reaches.")] = 0.3,
) -> None:
    """Writes the page."""
    found = json.loads(throughput.read_text()), json.loads(scaling.read_text())
    output.write_text(page(*found, share))
    print(output)


if __name__ == "__main__":
    typer.run(main)
