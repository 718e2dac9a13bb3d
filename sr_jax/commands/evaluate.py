"""`sr-jax evaluate`: scores of a network on folders of images, with bicubic beside it."""

import dataclasses
import shutil
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sr_jax.commands.console import parse_length, report_failure
from sr_jax.commands.contenders import open_contenders
from sr_jax.commands.journal import Journal
from sr_jax.commands.ledger import (
    find_datasets,
    list_keys,
    measure_all,
    note_scores,
    read_scores,
    score_with_progress,
)
from sr_jax.commands.many import Many, Part, Ray, Workers
from sr_jax.commands.many_scores import find_parts, journal_place, score_many
from sr_jax.commands.model import Allow, Step
from sr_jax.storage import check_local

if TYPE_CHECKING:
    from sr_jax.commands.ledger import Scored
    from sr_jax.data.sources import ImagePair
    from sr_jax.evaluation.scoring import Datasets, Key

# Commands answer `--help` at once: whatever takes long to import is imported where it is used.


class Format(StrEnum):
    """How means are printed."""

    text = "text"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"


def evaluate(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Folders of HR images, or with HR/ and perhaps LR_bicubic/X<scale>/."),
    ],
    model: Annotated[
        list[str],
        typer.Option(
            help="A weights file, a training workdir, hf:USER/REPO on the Hugging Face Hub, or "
            "'bicubic' alone; NAME=PLACE gives it a name. May be repeated: one table for all."
        ),
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
    step: Step = None,
    allow: Allow = None,
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
    dists: Annotated[
        bool, typer.Option(help="Add DISTS, to the tables and as .dists.json beside the scores.")
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
    page: Annotated[
        Path | None,
        typer.Option(
            help="HTML: one file with the table and every image under a slider, to send to "
            "somebody."
        ),
    ] = None,
    table: Annotated[
        Format, typer.Option("--format", help="How the table of means is printed.")
    ] = Format.text,
    part: Part = None,
    ray: Ray = None,
    workers: Workers = None,
    join: Annotated[
        bool, typer.Option(help="Put together what the same command has found with each --part.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option(help="Replace scores, images, a comparison and a page that exist.")
    ] = False,
) -> None:
    """Scores a network against bicubic: PSNR and SSIM of the luma, per image and on average.

    What cannot be scored is named, and the means are over the others. After an interruption the
    same command does what is missing.
    """
    from rich.console import Console

    from sr_jax.evaluation import page as pages
    from sr_jax.evaluation import report
    from sr_jax.evaluation.extras import Extras, image_path
    from sr_jax.inference.settings import Settings
    from sr_jax.scale.places import is_address, locate

    if comparison:
        import matplotlib  # noqa: F401  that it is missing is told before any work
    if page and page.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--page is {page}, expected the name of an .html file")
    written = {"--output": output, "--save-images": save_images, "--comparison": comparison}
    written["--page"] = page
    for option, path in written.items():
        if path:
            check_local(option, path)
    many = Many(part, ray, workers)
    shared, own_part = many.takes(folders), many.read_part()
    is_part = own_part.count > 1
    if is_part or any(map(is_address, folders)):
        many.refuse({"--comparison": comparison})  # --join draws it
    if page and (is_part or shared or join):
        raise ValueError("--page is made by one process: leave out --part, --ray and --join")
    if join:
        many.refuse({"--join": is_part or ray})
    cluster = many.connect()
    settings = Settings(
        tile=parse_length("--tile", tile, "auto", "none"),
        overlap=parse_length("--overlap", overlap, "exact"),
    )
    contenders, scales, identities = open_contenders(
        model, scale, settings, name=name, ensemble=ensemble, step=step, allow=allow or ()
    )
    if comparison and not identities:
        raise ValueError("--name, --ensemble and --comparison are about a network, not bicubic")
    if page and "original" in [contender.method for contender in contenders]:
        raise ValueError("--page has another 'original': give --model NAME=PLACE")
    datasets, stamps = find_datasets(folders, scales)
    drawn = list(_find_images(datasets, comparison_image or []))
    if drawn and not comparison:
        raise ValueError("--comparison-image without --comparison, the file to draw: give both")

    kept = page.with_name(f".sr_jax-{page.name}") if page else None  # images of the page
    extras: dict[str, Any] = {"lpips": lpips, "dists": dists}
    request = {
        "model": identities,
        "contenders": [(c.method, dataclasses.asdict(c.settings)) for c in contenders],
        "folders": [
            locate(folder if is_address(folder) else folder.resolve()) for folder in folders
        ],
        "round_luma": round_luma,
        **extras,
        "images": str(save_images),
        "page": str(page),
    }
    extras |= {"images": save_images and str(save_images), "page": kept}
    journals = [Journal(journal_place(output, own_part), request)]
    if join:
        journals = find_parts(output, request)
    scores, errors = read_scores(journals if join or not overwrite else [], datasets, stamps)
    begun = bool(scores)
    if kept:
        scores = {key: score for key, score in scores.items() if pages.has_image(kept, key)}
    keys = list(list_keys(datasets, scales, contenders))
    own = {
        dataset: [pair for pair in images if own_part.has(f"{dataset}/{pair.name}")]
        for dataset, images in datasets.items()
    }
    # What an unfinished run of this command has written is its own.
    planned = [path for path in (output, comparison, page) if path]
    if begun and not join:
        planned = []
    if save_images and not join:
        own_keys = list_keys(own, scales, contenders)
        planned += [image_path(save_images, key) for key in own_keys if key not in scores]
    if not overwrite and (taken := next((path for path in planned if path.exists()), None)):
        raise ValueError(f"{taken} exists: give --overwrite, or another place")
    if join and (missing := [key for key in keys if key not in scores and key not in errors]):
        key = missing[0]
        raise ValueError(
            f"{len(missing)} of {len(keys)} scores are in no part, {key.dataset}/{key.image} "
            f"x{key.scale} {key.method} among them: run the parts that are not done"
        )
    if is_part:
        counts = (sum(map(len, each.values())) for each in (own, datasets))
        print("part {}: {} of {} images".format(own_part, *counts))
    if scores and not join:
        print(f"going on (scores made before: {len(scores)}); --overwrite makes them anew")

    failures: list[str] = []
    console = Console(stderr=True)

    def fail(key: "Key", reason: str) -> None:
        failures.append(f"{key.dataset}/{key.image} x{key.scale} {key.method}: {reason}")
        report_failure(console, failures[-1])

    for key, reason in errors.items() if join else ():
        fail(key, reason)
    options: dict[str, Any] = {"round_luma": round_luma, "done": scores, "console": console}
    scored: Iterator[list[Scored]] = iter(())
    if shared and not join:
        scored = score_many(cluster, own, scales, contenders, extras, allow=allow or (), **options)
    elif not join:
        images = score_with_progress(own, scales, contenders, **options)
        scored = measure_all(images, Extras(**extras))
    for results in scored:
        for key, _, result in results:
            if isinstance(result, str):
                fail(key, result)
            else:
                scores[key] = result
        note_scores(journals[0], results, stamps)
    if is_part:
        print("the same command with --join in place of --part puts all parts together")
        if failures:
            raise typer.Exit(1)
        return
    found = [scores[key] for key in keys if key in scores]
    if not found:
        raise ValueError("no image could be scored")
    report.write_scores(output, found)
    report.print_scores(found, contenders, round_luma=round_luma, style=table)
    if comparison:
        largest = max(scales)
        drawn = drawn or list(
            _find_images(datasets, [report.gains_most(found, largest, contenders)])
        )
        report.compare(comparison, drawn, largest, contenders, round_luma=round_luma)
    if page and kept:
        pages.write_page(page, found, kept, round_luma=round_luma)
        size = page.stat().st_size
        large = ", slow to open: score fewer images for a smaller one" * (size > pages.LARGE)
        print(f"{page}: {size / 1e6:.1f} MB{large}")
    if failures:
        print(f"{len(failures)} scores are missing, see above; the means are over the others")
        raise typer.Exit(1)
    for journal in journals:
        journal.close()
    if kept:
        shutil.rmtree(kept)


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
