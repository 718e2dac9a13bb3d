"""`sr-jax evaluate`: scores of a network on folders of images, with bicubic beside it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sr_jax.commands.console import image_progress, parse_length

if TYPE_CHECKING:
    import numpy as np

    from sr_jax.data.sources import ImagePair
    from sr_jax.evaluation.scoring import Contender, Datasets, Score

# Commands answer `--help` at once: whatever takes long to import is imported where it is used.


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
    from sr_jax.evaluation import report
    from sr_jax.evaluation.scoring import BICUBIC, list_contenders
    from sr_jax.imaging.files import write_image
    from sr_jax.inference.settings import Settings
    from sr_jax.inference.upscaler import network_scale

    settings = Settings(
        tile=parse_length("--tile", tile, "auto", "none"),
        overlap=parse_length("--overlap", overlap, "exact"),
    )
    contenders = [BICUBIC]
    if model != BICUBIC.method:
        network = weights.load(weights.find(model), allow=allow or ())
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
        from sr_jax.evaluation.perceptual import load_lpips

        distance = load_lpips()

    scores = []
    for score, pair, image in score_with_progress(
        datasets, scales, contenders, round_luma=round_luma
    ):
        if distance:
            score = score._replace(lpips=distance(image, pair.hr(score.scale)))
        if save_images:
            write_image(_image_path(save_images, *score[:4]), image)
        scores.append(score)
    report.write_scores(output, scores)
    report.print_scores(scores, contenders, round_luma=round_luma)
    if comparison:
        largest = max(scales)
        drawn = drawn or list(
            _find_images(datasets, [report.gains_most(scores, largest, contenders)])
        )
        report.compare(comparison, drawn, largest, contenders, round_luma=round_luma)


def score_with_progress(
    datasets: "Datasets",
    scales: Sequence[int],
    contenders: "Sequence[Contender]",
    *,
    round_luma: bool = False,
) -> "Iterator[tuple[Score, ImagePair, np.ndarray]]":
    """What `score_all` yields, with a progress bar."""
    from sr_jax.evaluation.scoring import score_all

    total = sum(map(len, datasets.values())) * len(scales) * len(contenders)
    with image_progress() as progress:
        task = progress.add_task("scoring", total=total)
        for scored in score_all(datasets, scales, contenders, round_luma=round_luma):
            yield scored
            score = scored[0]
            name = f"{score.dataset} x{score.scale} {score.method}"
            progress.update(task, advance=1, description=name)


def _find_images(datasets: "Datasets", names: Iterable[str]) -> Iterator[tuple[str, "ImagePair"]]:
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


def _image_path(folder: Path, dataset: str, scale: int, method: str, image: str) -> Path:
    return folder / dataset / f"X{scale}" / method / f"{image}.png"


def _image_paths(
    folder: Path, datasets: "Datasets", scales: Sequence[int], contenders: "Sequence[Contender]"
) -> Iterator[Path]:
    for dataset, pairs in datasets.items():
        for scale in scales:
            for contender in contenders:
                for pair in pairs:
                    yield _image_path(folder, dataset, scale, contender.method, pair.name)
