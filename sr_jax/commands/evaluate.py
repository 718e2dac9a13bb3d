"""`sr-jax evaluate`: scores of a network on folders of images, with bicubic beside it."""

import dataclasses
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sr_jax.commands.console import image_progress, parse_length, printable, report_failure
from sr_jax.commands.journal import Journal, stamp
from sr_jax.commands.model import Allow, Step, open_model
from sr_jax.storage import check_local

if TYPE_CHECKING:
    from rich.console import Console

    from sr_jax.data.sources import ImagePair
    from sr_jax.evaluation.scoring import Contender, Datasets, Key, Result, Score
    from sr_jax.models.network import Network

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
    overwrite: Annotated[
        bool, typer.Option(help="Replace scores, images, a comparison and a page that exist.")
    ] = False,
) -> None:
    """Scores a network against bicubic: PSNR and SSIM of the luma, per image and on average.

    What cannot be scored is named, and the means are over the others. After an interruption the
    same command does what is missing.
    """
    from rich.console import Console

    from sr_jax.data.sources.layouts import find_layout
    from sr_jax.evaluation import page as pages
    from sr_jax.evaluation import report
    from sr_jax.evaluation.scoring import BICUBIC, list_contenders
    from sr_jax.imaging.files import write_image
    from sr_jax.inference.settings import Settings

    if comparison:
        import matplotlib  # noqa: F401  that it is missing is told before any work
    if page and page.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--page is {page}, expected the name of an .html file")
    written = {"--output": output, "--save-images": save_images, "--comparison": comparison}
    written["--page"] = page
    for option, path in written.items():
        if path:
            check_local(option, path)
    settings = Settings(
        tile=parse_length("--tile", tile, "auto", "none"),
        overlap=parse_length("--overlap", overlap, "exact"),
    )
    named = [_named(given) for given in model if given != BICUBIC.method]
    places = dict(named)
    if len(places) < len(named):
        raise ValueError("two of the networks have the same name or place: give each its own")
    if not places and (name or ensemble or comparison):
        raise ValueError("--name, --ensemble and --comparison are about a network, not bicubic")
    if name and len(places) > 1:
        raise ValueError("--name is for one network: give --model NAME=PLACE for each")
    contenders, networks, identities = [BICUBIC], [], []
    for label, place in places.items():
        opened = open_model(place, allow=allow or (), step=step)
        networks.append(opened.model)
        identities.append(opened.identity)
        called = name if label == place else label
        network = opened.model, opened.variables
        contenders += list_contenders(network, settings, name=called, ensemble=ensemble)[1:]
        if opened.note:
            print(opened.note)
    methods = [contender.method for contender in contenders]
    if twice := next((method for method in methods if methods.count(method) > 1), None):
        raise ValueError(f"two of the networks are called {twice}: give --model NAME=PLACE")
    if page and "original" in methods:
        raise ValueError("--page has another 'original': give --model NAME=PLACE")
    if networks:
        scale = _common_scales(networks, scale)
    if not scale:
        raise ValueError("--model bicubic has no scale of its own: give --scale")
    scales = list(dict.fromkeys(scale))
    layouts = {folder.resolve().name: find_layout(folder, scales) for folder in folders}
    if len(layouts) < len(folders):
        raise ValueError("two of the folders have the same name, which names the rows: rename one")
    datasets = {name: layout.pairs for name, layout in layouts.items()}
    for dataset, layout in layouts.items():
        print(printable(f"{dataset}: {layout.describe()}"))
    drawn = list(_find_images(datasets, comparison_image or []))
    if drawn and not comparison:
        raise ValueError("--comparison-image without --comparison, the file to draw: give both")
    measure_lpips = measure_dists = None
    if lpips or dists:
        from sr_jax.evaluation import perceptual

        measure_lpips = perceptual.load_lpips() if lpips else None
        measure_dists = perceptual.load_dists() if dists else None
    request = {
        "model": identities,
        "contenders": [(c.method, dataclasses.asdict(c.settings)) for c in contenders],
        "folders": [str(folder.resolve()) for folder in folders],
        "round_luma": round_luma,
        "lpips": lpips,
        "dists": dists,
        "images": str(save_images),
        "page": str(page),
    }
    journal = Journal(output.with_suffix(".unfinished.jsonl"), request)
    pairs = {(d, pair.name): pair for d, images in datasets.items() for pair in images}
    scores = {} if overwrite else _read(journal, pairs)
    begun = bool(scores)
    kept = page.with_name(f".sr_jax-{page.name}") if page else None  # images of the page
    if kept:
        scores = {key: score for key, score in scores.items() if pages.has_image(kept, key)}
    # What an unfinished run of this command has written is its own.
    planned = [] if begun else [path for path in (output, comparison, page) if path]
    if save_images:
        planned += [
            _image_path(save_images, *key)
            for key in _keys(datasets, scales, contenders)
            if key not in scores
        ]
    if not overwrite and (taken := next((path for path in planned if path.exists()), None)):
        raise ValueError(f"{taken} exists: give --overwrite, or another place")
    if scores:
        print(f"going on: {len(scores)} scores are there; --overwrite makes them anew")

    failures: list[str] = []
    console = Console(stderr=True)
    for key, pair, result in score_with_progress(
        datasets, scales, contenders, round_luma=round_luma, done=scores, console=console
    ):
        try:
            if isinstance(result, str):
                raise ValueError(result)
            score, image = result
            if measure_lpips:
                score = score._replace(lpips=measure_lpips(image, pair.hr(score.scale)))
            if measure_dists:
                score = score._replace(dists=measure_dists(image, pair.hr(score.scale)))
            if save_images:
                write_image(_image_path(save_images, *key), image)
            if kept:
                pages.keep_image(kept, key, image)
                original = key._replace(method=pages.ORIGINAL)
                if key.method == BICUBIC.method or not pages.has_image(kept, original):
                    pages.keep_image(kept, original, pair.hr(key.scale))
        except (ValueError, OSError) as error:
            failures.append(f"{key.dataset}/{key.image} x{key.scale} {key.method}: {error}")
            report_failure(console, failures[-1])
            continue
        entry = score._asdict() | {"stamp": stamp(str(pair.read_hr))}
        journal.add("/".join(map(str, key)), entry)
        scores[key] = score
    found = [scores[key] for key in _keys(datasets, scales, contenders) if key in scores]
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
    journal.close()
    if kept:
        shutil.rmtree(kept)


def _named(given: str) -> tuple[str, str]:
    """The name that NAME=PLACE gives, else the place itself, and the place."""
    name, equals, place = given.partition("=")
    if equals and name and "/" not in name and not Path(given).exists():
        return name, place
    return given, given


def _common_scales(networks: "Sequence[Network]", asked: list[int] | None) -> list[int]:
    """The scales that were asked for, which all networks must have, or else that they share."""
    from sr_jax.inference.upscaler import network_scale

    each = [
        [network_scale(network, factor) for factor in asked or network.known_scales or (None,)]
        for network in networks
    ]
    shared = [factor for factor in each[0] if all(factor in known for known in each)]
    if not shared:
        raise ValueError("the networks have no scale in common: score them one by one")
    return shared


def _keys(
    datasets: "Datasets", scales: Sequence[int], contenders: "Sequence[Contender]"
) -> "Iterator[Key]":
    """All that is scored, in the order of the tables."""
    from sr_jax.evaluation.scoring import Key

    for dataset, pairs in datasets.items():
        for scale in scales:
            for contender in contenders:
                for pair in pairs:
                    yield Key(dataset, scale, contender.method, pair.name)


def _read(journal: Journal, pairs: "Mapping[tuple[str, str], ImagePair]") -> "dict[Key, Score]":
    """The scores of an unfinished run, but for images that were changed since."""
    from sr_jax.evaluation.scoring import Key, Score

    scores = {}
    for entry in journal.entries.values():
        when = entry.pop("stamp")
        score = Score(**entry)
        pair = pairs.get((score.dataset, score.image))
        if pair and stamp(str(pair.read_hr)) == when:
            scores[Key(*score[:4])] = score
    return scores


def score_with_progress(
    datasets: "Datasets",
    scales: Sequence[int],
    contenders: "Sequence[Contender]",
    *,
    round_luma: bool = False,
    done: "Collection[Key]" = (),
    console: "Console | None" = None,
) -> "Iterator[tuple[Key, ImagePair, Result]]":
    """What `score_all` yields, with a progress bar; `console` is where it is shown."""
    from sr_jax.evaluation.scoring import score_all

    total = sum(map(len, datasets.values())) * len(scales) * len(contenders)
    with image_progress(console) as progress:
        task = progress.add_task("scoring", total=total, completed=len(done))
        scored = score_all(datasets, scales, contenders, round_luma=round_luma, done=done)
        for key, pair, result in scored:
            yield key, pair, result
            name = f"{key.dataset} x{key.scale} {key.method}"
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
