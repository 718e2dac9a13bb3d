"""Scores of a network on folders of images: PSNR and SSIM of the luma, with bicubic beside it.

Run as `sr-jax evaluate` or `python -m sr_jax.evaluate`.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sr_jax.console import parse_length, run
from sr_jax.published import Published, published
from sr_jax.scoring import (
    BICUBIC,
    Contender,
    Datasets,
    Loaded,
    Score,
    group_scores,
    list_contenders,
    mean_lpips,
    mean_scores,
    score_all,
    score_image,
)

if TYPE_CHECKING:
    from sr_jax.data.sources import ImagePair

# Commands answer `--help` at once: whatever takes long to import is imported where it is used.


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """Writes the means to `path` (JSON), the images' scores beside it (.images.json and .csv).

    LPIPS, if it was asked for, goes to a file of its own (.lpips.json): means and images.
    """
    from sr_jax.imaging.files import write_bytes

    rows = [score._asdict() for score in scores]
    distances = [row.pop("lpips") for row in rows]
    table = io.StringIO()
    writer = csv.DictWriter(table, [field for field in Score._fields if field != "lpips"])
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path.with_suffix(".images.json"), json.dumps(rows, indent=2).encode())
    write_bytes(path.with_suffix(".csv"), table.getvalue().encode())
    if None not in distances:
        names = ("dataset", "scale", "method", "image")
        lpips = {
            "means": [
                dict(zip(names, key, strict=False), lpips=mean_lpips(group), images=len(group))
                for key, group in group_scores(scores).items()
            ],
            "images": [dict(zip(names, s, strict=False), lpips=s.lpips) for s in scores],
        }
        write_bytes(path.with_suffix(".lpips.json"), json.dumps(lpips, indent=2).encode())
    write_bytes(path, json.dumps(mean_scores(scores), indent=2).encode())


def print_scores(
    scores: Sequence[Score], contenders: Sequence[Contender], *, round_luma: bool = False
) -> None:
    """Prints a table of every image, and one of the means beside the published figures."""
    _print_table(
        ("dataset", "scale", "image", "method", "PSNR (dB)", "SSIM", "LPIPS"),
        [
            (s.dataset, f"x{s.scale}", s.image, s.method, *_cells(s.psnr, s.ssim), _cell(s.lpips))
            for s in sorted(scores, key=lambda s: (s.dataset, s.scale, s.image))
        ],
    )
    names = {contender.method: contender.known_as for contender in contenders}
    rows, quoted = [], []
    for (dataset, scale, method), group in group_scores(scores).items():
        (mean,) = mean_scores(group)
        known_as = names[method]
        figure = published(known_as, dataset, scale) if known_as else None
        quoted += [figure] if figure else []
        ours = "/".join(_cells(mean["psnr"], mean["ssim"]))
        beside = _beside(figure, mean["psnr"], mean["ssim"], round_luma)
        means = f"{dataset} x{scale} ({len(group)})"
        rows.append((means, method, ours, *beside, _cell(mean_lpips(group))))
    columns = ("mean (images)", "method", "PSNR/SSIM", "published", "difference", "LPIPS")
    _print_table(columns, rows)
    for source in dict.fromkeys(figure.source for figure in quoted):
        print(f"published: {source}")
    if any(figure.round_luma == (not round_luma) for figure in quoted):
        there, remedy = ("unrounded", "leave out") if round_luma else ("rounded", "give")
        print(f"* published with {there} luma: {remedy} --round-luma to compare like with like")


def _cells(psnr: float, ssim: float) -> tuple[str, str]:
    return f"{psnr:.2f}", f"{ssim:.4f}"


def _cell(lpips: float | None) -> str:
    return "" if lpips is None else f"{lpips:.4f}"


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
    import rich.box
    import rich.console
    import rich.table

    kept = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    table = rich.table.Table(*(columns[i] for i in kept), box=rich.box.SIMPLE, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(*(row[i] for i in kept))
    # Wider than most terminals: a long line is better than a figure that is cut.
    rich.console.Console(width=200).print(table)


def compare(
    path: Path,
    images: Sequence[tuple[str, "ImagePair"]],
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
    from sr_jax.inference.comparison import Comparison, write_comparison

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


def evaluate(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Folders of HR images, or with HR/ and perhaps LR_bicubic/X<scale>/."),
    ],
    model: Annotated[
        str, typer.Option(help="A weights file, a training workdir, or 'bicubic' alone.")
    ],
    output: Annotated[
        Path, typer.Option(help="JSON of mean scores; .images.json and .csv go beside it.")
    ],
    scale: Annotated[
        list[int] | None, typer.Option(help="The factor; may be repeated. Default: the network's.")
    ] = None,
    round_luma: Annotated[
        bool, typer.Option(help="Round the luma to 8 bits, as the tables of SRCNN, VDSR, EDSR do.")
    ] = False,
    ensemble: Annotated[
        bool, typer.Option(help="Add NAME+: the mean over the 8 symmetries of each image.")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(
            help="What to call the network in rows and published tables. Default: its architecture."
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="MODULE:CLASS of a network outside sr_jax that may be imported."),
    ] = None,
    tile: Annotated[
        str | None,
        typer.Option(
            help="Side of tiles in pixels of the network's input, or 'auto'. Default: the whole "
            "image, as the tables. Tiles change the scores of networks that look at the whole "
            "image (RCAN, SAN, CSNLN), and of others unless --overlap is 'exact'."
        ),
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(
            help="Pixels that a tile sees beyond its part; 'exact': as far as the network looks."
        ),
    ] = None,
    lpips: Annotated[
        bool,
        typer.Option(help="Add LPIPS (VGG), to the tables and as .lpips.json beside the scores."),
    ] = False,
    save_images: Annotated[
        Path | None,
        typer.Option(help="Folder for all outputs: SET / X<scale> / METHOD / IMAGE.png."),
    ] = None,
    comparison: Annotated[
        Path | None,
        typer.Option(help="PNG: a detail of an image as each method renders it, largest scale."),
    ] = None,
    comparison_image: Annotated[
        list[str] | None,
        typer.Option(
            help="An image of the comparison; may be repeated. Default: the one that gains most."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option(help="Replace saved images and a comparison that exist.")
    ] = False,
) -> None:
    """Scores a network against bicubic: PSNR and SSIM of the luma, per image and on average."""
    from sr_jax import weights
    from sr_jax.data.sources import list_folder
    from sr_jax.imaging.files import write_image
    from sr_jax.inference.settings import Settings
    from sr_jax.inference.upscaler import network_scale

    settings = Settings(
        tile=parse_length("--tile", tile, "auto", "none"),
        overlap=parse_length("--overlap", overlap, "exact"),
    )
    contenders = [BICUBIC]
    if model != BICUBIC.method:
        network: Loaded = weights.load(weights.find(model), allow=allow or ())
        contenders = list_contenders(network, settings, name=name, ensemble=ensemble)
        asked = scale or network[0].known_scales or (None,)
        scale = [network_scale(network[0], factor) for factor in asked]
    elif name or ensemble or comparison:
        raise ValueError("--name, --ensemble and --comparison are about a network, not bicubic")
    if not scale:
        raise ValueError("--model bicubic has no scale of its own: give --scale")
    scales = list(dict.fromkeys(scale))
    datasets = {folder.resolve().name: list_folder(folder, scales) for folder in folders}
    if len(datasets) < len(folders):
        raise ValueError("two of the folders have the same name, which names the rows: rename one")
    drawn = list(_find_images(datasets, comparison_image or []))
    if drawn and not comparison:
        raise ValueError("--comparison-image without --comparison, the file to draw: give both")
    planned = [comparison] if comparison else []
    if save_images:
        planned += _image_paths(save_images, datasets, scales, contenders)
    if not overwrite and (taken := next((path for path in planned if path.exists()), None)):
        raise ValueError(f"{taken} exists: give --overwrite, or another place")
    distance = None
    if lpips:
        from sr_jax.perceptual import load_lpips

        distance = load_lpips()

    scores = []
    for score, pair, image in score_all(datasets, scales, contenders, round_luma=round_luma):
        if distance:
            score = score._replace(lpips=distance(image, pair.hr(score.scale)))
        if save_images:
            write_image(_image_path(save_images, *score[:4]), image)
        scores.append(score)
    write_scores(output, scores)
    print_scores(scores, contenders, round_luma=round_luma)
    if comparison:
        largest = max(scales)
        drawn = drawn or list(_find_images(datasets, [_gains_most(scores, largest, contenders)]))
        compare(comparison, drawn, largest, contenders, round_luma=round_luma)


def _find_images(datasets: Datasets, names: Iterable[str]) -> Iterator[tuple[str, "ImagePair"]]:
    """The images that are called NAME or DATASET/NAME, with their data sets."""
    for name in names:
        found = [
            (dataset, pair)
            for dataset, pairs in datasets.items()
            for pair in pairs
            if name in (pair.name, f"{dataset}/{pair.name}")
        ]
        if not found:
            known = [pair.name for pairs in datasets.values() for pair in pairs]
            raise ValueError(
                f"--comparison-image {name}: no such image; there are {', '.join(known[:10])}"
                f"{' and others' if len(known) > 10 else ''}"
            )
        yield from found


def _gains_most(scores: Sequence[Score], scale: int, contenders: Sequence[Contender]) -> str:
    """DATASET/NAME of the image on which the network is farthest above bicubic, in dB."""
    psnr = {(f"{s.dataset}/{s.image}", s.method): s.psnr for s in scores if s.scale == scale}
    names = dict.fromkeys(name for name, _ in psnr)
    method = contenders[1].method

    def gain(name: str) -> float:
        difference = psnr[name, method] - psnr[name, BICUBIC.method]
        return difference if math.isfinite(difference) else -math.inf  # nothing to see

    return max(names, key=gain)


def _image_path(folder: Path, dataset: str, scale: int, method: str, image: str) -> Path:
    return folder / dataset / f"X{scale}" / method / f"{image}.png"


def _image_paths(
    folder: Path, datasets: Datasets, scales: Sequence[int], contenders: Sequence[Contender]
) -> Iterator[Path]:
    for dataset, pairs in datasets.items():
        for scale in scales:
            for contender in contenders:
                for pair in pairs:
                    yield _image_path(folder, dataset, scale, contender.method, pair.name)


if __name__ == "__main__":
    run(lambda: typer.run(evaluate))
