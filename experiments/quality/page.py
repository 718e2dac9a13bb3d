"""The tables of what was trained and the picture: python -m experiments.quality.page

Writes the tables of all cards into README.md, docs/pretrained.md and, of what does not ship, the
README.md beside this file, between their marks; and the picture docs/crops.png: photographs that no
network has seen.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import typer

from experiments import harness
from experiments.quality.part import FOLDER
from sr_jax import Upscaler, pretrained
from sr_jax.data import sources
from sr_jax.imaging.comparison import Comparison, write_comparison
from sr_jax.imaging.resize import imresize
from sr_jax.pretrained import Card
from sr_jax.storage import write_bytes

README = harness.REPOSITORY / "README.md"
OURS = FOLDER / "README.md"
PAGE = harness.REPOSITORY / "docs" / "pretrained.md"
MARKS = ("<!-- python -m experiments.quality.page -->", "<!-- end -->")
PICTURES = {2: "coffee", 4: "astronaut"}  # scale -> photograph of the source `photos`


def row(card: Card, scale: int, datasets: Sequence[str], *, paper: bool) -> list[str]:
    """The scores of a network at a scale: on JPEG files if it is made for those."""
    after = " JPEG 75" if card.kind == "photo" else ""
    scores = {score.dataset: score for score in card.scores if score.scale == scale}
    cells = [f"`{card.name}`", f"{'JPEG' if after else 'clean'}, x{scale}"]
    for score in (scores[dataset + after] for dataset in datasets):
        published = f"; {score.paper:.2f}" if paper and score.paper else ""
        cells.append(f"{score.psnr:.2f} ({score.bicubic:.2f}{published})")
    return cells


def short_table(cards: Iterable[Card]) -> str:
    """Markdown for the overview: a row for all scales of a network."""
    rows: dict[str, dict[int, list[str]]] = {}
    for card in cards:
        for scale in card.scales:
            name = card.name.removesuffix(f"_x{scale}")
            rows.setdefault(name, {})[scale] = row(card, scale, ("Set5",), paper=False)
    lines = []
    for name, cells in rows.items():
        (kind,) = {cell[1].partition(",")[0] for cell in cells.values()}
        of_scales = [cells[scale][2] if scale in cells else "-" for scale in (2, 3, 4)]
        suffix = "_x2" if any(f"{name}_x" in cell[0] for cell in cells.values()) else ""
        lines.append([f"`{name}{suffix}`" + (" ..." if suffix else ""), kind, *of_scales])
    return "\n".join(harness.table(["`--model`", "for", "Set5 x2", "Set5 x3", "Set5 x4"], lines))


def long_table(cards: Iterable[Card]) -> str:
    """Markdown with more data sets, the figures of papers, sizes and hours."""
    datasets = ("Set5", "Set14", "B100")
    rows = [
        [*row(card, scale, datasets, paper=True), f"{card.parameters:,}", f"{card.hours:.1f}"]
        for card in cards
        for scale in card.scales
    ]
    return "\n".join(harness.table(["name", "for", *datasets, "parameters", "hours"], rows))


def tables(cards: Sequence[Card]) -> list[tuple[Path, str]]:
    """The pages and their tables; the overview has EDSR alone, ours what does not ship."""
    edsr = [card for card in cards if card.architecture.startswith("edsr")]
    ours = map(pretrained.read_card, sorted((FOLDER / "weights").glob("*.json")))
    return [(README, short_table(edsr)), (PAGE, long_table(cards)), (OURS, long_table(ours))]


def between(page: str, text: str) -> str:
    """The page with this text between its marks."""
    pattern = "(?s)" + re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1])
    return re.sub(pattern, lambda _: f"{MARKS[0]}\n\n{text}\n\n{MARKS[1]}", page)


def draw(scale: int, name: str) -> Comparison:
    """Bicubic interpolation, the small network, the best one and the original."""
    pairs = {pair.name: pair for pair in sources.load("photos", "validation", scales=(scale,))}
    lr, hr = pairs[name].pair(scale)
    panels = {"bicubic": imresize(lr, scale)}
    for network in dict.fromkeys((f"edsr_small_x{scale}", pretrained.choose(scale).name)):
        panels[network] = Upscaler(network)(lr)
    return Comparison(f"{name}, x{scale}", panels | {"original": hr})


def main() -> None:
    """Writes the tables and the picture."""
    for page, table in tables(list(pretrained.cards().values())):
        write_bytes(page, between(page.read_text(), table).encode())
        print(table)
    write_comparison(
        PAGE.with_name("crops.png"), [draw(*picture) for picture in PICTURES.items()], dpi=120
    )


if __name__ == "__main__":
    typer.run(main)
