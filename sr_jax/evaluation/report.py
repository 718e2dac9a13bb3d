"""How scores are shown: files of rows, tables beside the published figures, pictures."""

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rich.box
import rich.console
import rich.table
import rich.text

from sr_jax.data.sources import ImagePair
from sr_jax.evaluation.published import Published, published
from sr_jax.evaluation.scoring import (
    BICUBIC,
    Contender,
    Score,
    group_scores,
    mean_distance,
    mean_scores,
    score_image,
)
from sr_jax.storage import write_bytes

_LATEX = {character: rf"\{character}" for character in "&%$#_{}"}
_LATEX |= {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}

_DISTANCES = {"lpips": "LPIPS", "dists": "DISTS"}  # fields of a score, and their headings


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """Writes the means to `path` (JSON) and beside it (.means.csv), the images' scores beside them
    (.images.json and .csv).

    An infinite PSNR is null in JSON and inf in CSV. LPIPS and DISTS, if they were asked for, go to
    files of their own (.lpips.json, .dists.json): means and images.
    """
    means = mean_scores(scores)
    rows = [score._asdict() for score in scores]
    distances = {name: [row.pop(name) for row in rows] for name in _DISTANCES}
    plain = [row | {"psnr": row["psnr"] if math.isfinite(row["psnr"]) else None} for row in rows]
    write_bytes(path.with_suffix(".images.json"), json.dumps(plain, indent=2).encode())
    write_bytes(path.with_suffix(".csv"), os.fsencode(_csv(rows)))
    write_bytes(path.with_suffix(".means.csv"), os.fsencode(_csv(means)))
    for distance, values in distances.items():
        if None in values:
            continue
        names = ("dataset", "scale", "method", "image")
        content = {
            "means": [
                dict(zip(names, key, strict=False), images=len(group))
                | {distance: mean_distance(group, distance)}
                for key, group in group_scores(scores).items()
            ],
            "images": [
                dict(zip(names, score, strict=False)) | {distance: value}
                for score, value in zip(scores, values, strict=True)
            ],
        }
        write_bytes(path.with_suffix(f".{distance}.json"), json.dumps(content, indent=2).encode())
    write_bytes(path, json.dumps(means, indent=2).encode())


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def print_scores(
    scores: Sequence[Score],
    contenders: Sequence[Contender],
    *,
    round_luma: bool = False,
    style: str = "text",
) -> None:
    """Prints the scores.

    Args:
        scores: of all images.
        contenders: whose they are.
        round_luma: as in `score_image`.
        style: 'text': a table of every image, and one of the means beside the published figures;
            'csv': the means; 'markdown' and 'latex': the means, a column for each contender.
    """
    if style == "csv":
        print(_csv(mean_scores(scores)), end="")
        return
    if style != "text":
        print("\n".join(_page(scores, style)))
        return
    _print_table(
        ("dataset", "scale", "image", "method", "PSNR (dB)", "SSIM", *_DISTANCES.values()),
        [
            (
                *(s.dataset, f"x{s.scale}", s.image, s.method, *_cells(s.psnr, s.ssim)),
                *(_cell(getattr(s, name)) for name in _DISTANCES),
            )
            for s in sorted(scores, key=lambda s: (s.dataset, s.scale, s.image))
        ],
    )
    names = {contender.method: contender.known_as for contender in contenders}
    rows, quoted, notes = [], [], []
    for (dataset, scale, method), group in group_scores(scores).items():
        (mean,) = mean_scores(group)
        known_as = names[method]
        figure = published(known_as, dataset, scale) if known_as else None
        quoted += [figure] if figure else []
        psnr = math.inf if mean["psnr"] is None else mean["psnr"]
        ours = "/".join(_cells(psnr, mean["ssim"]))
        beside = _beside(figure, psnr, mean["ssim"], round_luma)
        means = f"{dataset} x{scale} ({mean['images']})"
        if mean["images"] < len(group):
            equal = f"{method}: {len(group) - mean['images']} of {len(group)} images"
            notes.append(f"{dataset} x{scale} {equal} equal the original and are in no mean")
        far = [_cell(mean_distance(group, name)) for name in _DISTANCES]
        rows.append((means, method, ours, *beside, *far))
    scores_and_published = ("mean (images)", "method", "PSNR/SSIM", "published", "difference")
    _print_table((*scores_and_published, *_DISTANCES.values()), rows)
    for note in notes:
        print(_printable(note))
    for source in dict.fromkeys(figure.source for figure in quoted):
        print(f"published: {source}")
    if any(figure.round_luma == (not round_luma) for figure in quoted):
        there, remedy = ("unrounded", "leave out") if round_luma else ("rounded", "give")
        print(f"* published with {there} luma: {remedy} --round-luma to compare like with like")


def _page(scores: Sequence[Score], style: str) -> list[str]:
    """The means as a table of Markdown or LaTeX."""
    means = mean_scores(scores)
    methods = list(dict.fromkeys(mean["method"] for mean in means))
    cells: dict[tuple[str, int], dict[str, str]] = {}
    for mean in means:
        psnr = math.inf if mean["psnr"] is None else mean["psnr"]
        row = cells.setdefault((mean["dataset"], mean["scale"]), {})
        row[mean["method"]] = "/".join(_cells(psnr, mean["ssim"]))
    lines = [["PSNR (dB)/SSIM", *methods]]
    lines += [
        [f"{dataset} x{scale}", *(row.get(method, "") for method in methods)]
        for (dataset, scale), row in cells.items()
    ]
    lines = [[_printable(cell) for cell in line] for line in lines]
    if style == "markdown":
        lines = [[cell.replace("|", r"\|") for cell in line] for line in lines]
        rule = "|".join(["", "---", *("---:" for _ in methods), ""])
        head, *body = [f"| {' | '.join(line)} |" for line in lines]
        return [head, rule, *body]
    head, *body = [
        " & ".join("".join(_LATEX.get(c, c) for c in cell) for cell in line) + r" \\"
        for line in lines
    ]
    columns = "l" + "r" * len(methods)
    begin, end = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
    return [begin, r"\hline", head, r"\hline", *body, r"\hline", end]


def _cells(psnr: float, ssim: float) -> tuple[str, str]:
    return f"{psnr:.2f}", f"{ssim:.4f}"


def _cell(distance: float | None) -> str:
    return "" if distance is None else f"{distance:.4f}"


def _beside(
    figure: Published | None, psnr: float, ssim: float, round_luma: bool
) -> tuple[str, str]:
    """A published figure and how far a score is from it; a star marks the other convention."""
    if figure is None:
        return "", ""
    star = "*" if figure.round_luma == (not round_luma) else ""
    if figure.ssim is None:
        return f"{figure.psnr:.2f}{star}", f"{psnr - figure.psnr:+.2f}"
    return (
        "/".join(_cells(figure.psnr, figure.ssim)) + star,
        f"{psnr - figure.psnr:+.2f}/{ssim - figure.ssim:+.4f}",
    )


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table without the columns in which no row says anything."""
    kept = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    table = rich.table.Table(*(columns[i] for i in kept), box=rich.box.SIMPLE, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(*(rich.text.Text(_printable(row[i])) for i in kept))
    # Wider than most terminals: a long line is better than a figure that is cut.
    rich.console.Console(width=200).print(table)


def _printable(text: str) -> str:
    """Text with what is no UTF-8 of a file's name replaced."""
    return os.fsencode(text).decode(errors="replace")


def compare(
    path: Path,
    images: Sequence[tuple[str, ImagePair]],
    scale: int,
    contenders: Sequence[Contender],
    *,
    round_luma: bool = False,
) -> None:
    """Draws a detail of some images as each contender renders it, and as it is.

    Args:
        path: the PNG file.
        images: the name of the data set and the image, a row each.
        scale: the factor.
        contenders: bicubic interpolation, and at least one more.
        round_luma: as in `score_image`.
    """
    from sr_jax.imaging.comparison import Comparison, write_comparison  # which needs matplotlib

    rows = []
    for dataset, pair in images:
        panels = {}
        for method, network, settings, _ in contenders:
            *score, image = score_image(
                pair, scale, network, round_luma=round_luma, settings=settings
            )
            psnr, ssim = _cells(*score)
            panels[f"{method}\n{psnr} dB / {ssim}"] = image
        panels["ground truth\nPSNR / SSIM"] = pair.hr(scale)
        rows.append(Comparison(f"{pair.name}\n{dataset}, x{scale}", panels))
    write_comparison(path, rows)


def gains_most(scores: Sequence[Score], scale: int, contenders: Sequence[Contender]) -> str:
    """DATASET/NAME of the image on which the network is farthest above bicubic, in dB.

    Of those that both have been scored on, and of which PSNR is finite, if there are any.
    """
    psnr = {(f"{s.dataset}/{s.image}", s.method): s.psnr for s in scores if s.scale == scale}
    names = dict.fromkeys(name for name, _ in psnr)
    method = contenders[1].method

    def gain(name: str) -> float:
        nothing = -math.inf
        difference = psnr.get((name, method), nothing) - psnr.get((name, BICUBIC.method), math.inf)
        return difference if math.isfinite(difference) else nothing

    return max(names, key=gain)
