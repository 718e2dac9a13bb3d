"""`sr-jax evaluate`: scores of a network on folders of images, with bicubic beside it."""

import dataclasses
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sr_jax.commands.console import image_progress, parse_length, printable, report_failure
from sr_jax.commands.journal import Journal, stamp
from sr_jax.commands.many import Many, Part, Ray, Workers
from sr_jax.commands.many_scores import find_parts, journal_place, list_address, score_many
from sr_jax.commands.model import Allow, Step, open_model
from sr_jax.storage import check_local

if TYPE_CHECKING:
    from rich.console import Console

    from sr_jax.data.sources import ImagePair
    from sr_jax.evaluation.extras import Extras
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

    from sr_jax.data.sources.layouts import find_layout
    from sr_jax.evaluation import page as pages
    from sr_jax.evaluation import report
    from sr_jax.evaluation.extras import Extras, image_path
    from sr_jax.evaluation.scoring import BICUBIC, list_contenders
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
    layouts = {}
    stamps: dict[str, str] = {}
    for folder in folders:
        listing, told = list_address(folder)
        layouts[folder.resolve().name] = find_layout(folder, scales, listing=listing)
        stamps |= {str(path): when for path, when in told.items()}
    if len(layouts) < len(folders):
        raise ValueError("two of the folders have the same name, which names the rows: rename one")
    datasets = {name: layout.pairs for name, layout in layouts.items()}
    for dataset, layout in layouts.items():
        print(printable(f"{dataset}: {layout.describe()}"))
    drawn = list(_find_images(datasets, comparison_image or []))
    if drawn and not comparison:
        raise ValueError("--comparison-image without --comparison, the file to draw: give both")
    kept = page.with_name(f".sr_jax-{page.name}") if page else None  # images of the page
    extras: dict[str, Any] = {
        "lpips": lpips,
        "dists": dists,
        "images": save_images and str(save_images),
        "page": kept,
    }
    measure = Extras(**extras)
    request = {
        "model": identities,
        "contenders": [(c.method, dataclasses.asdict(c.settings)) for c in contenders],
        "folders": [
            locate(folder if is_address(folder) else folder.resolve()) for folder in folders
        ],
        "round_luma": round_luma,
        "lpips": lpips,
        "dists": dists,
        "images": str(save_images),
        "page": str(page),
    }
    pairs = {(d, pair.name): pair for d, images in datasets.items() for pair in images}
    journals = [Journal(journal_place(output, own_part), request)]
    if join:
        journals = find_parts(output, request)

    def stamp_of(pair: "ImagePair") -> object:
        place = str(pair.read_hr)
        return stamps.get(place) or stamp(place)

    scores, errors = _read(journals if join or not overwrite else [], pairs, stamp_of)
    begun = bool(scores)
    if kept:
        scores = {key: score for key, score in scores.items() if pages.has_image(kept, key)}
    keys = list(_keys(datasets, scales, contenders))
    own = {
        dataset: [pair for pair in images if own_part.has(f"{dataset}/{pair.name}")]
        for dataset, images in datasets.items()
    }
    # What an unfinished run of this command has written is its own.
    planned = [path for path in (output, comparison, page) if path]
    if is_part or (begun and not join):
        planned = []
    if save_images and not join:
        own_keys = _keys(own, scales, contenders)
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
        print(f"part {own_part}: {sum(map(len, own.values()))} of {len(pairs)} images")
    if scores and not join:
        print(f"going on: {len(scores)} scores are there; --overwrite makes them anew")

    failures: list[str] = []
    console = Console(stderr=True)

    def fail(key: "Key", reason: str) -> None:
        failures.append(f"{key.dataset}/{key.image} x{key.scale} {key.method}: {reason}")
        report_failure(console, failures[-1])

    for key, reason in errors.items() if join else ():
        fail(key, reason)
    options: dict[str, Any] = {"round_luma": round_luma, "done": scores, "console": console}
    scored: Iterator[list[tuple[Key, ImagePair, Score | str]]] = iter(())
    if shared and not join:
        scored = score_many(cluster, own, scales, contenders, extras, allow=allow or (), **options)
    elif not join:
        scored = _measured(score_with_progress(own, scales, contenders, **options), measure)
    for results in scored:
        entries: dict[str, dict[str, Any]] = {}
        for key, pair, result in results:
            if isinstance(result, str):
                fail(key, result)
                entry = key._asdict() | {"error": result}
            else:
                scores[key] = result
                entry = result._asdict()
            entries["/".join(map(str, key))] = entry | {"stamp": stamp_of(pair)}
        journals[0].add_all(entries)
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


def _read(
    journals: Sequence[Journal],
    pairs: "Mapping[tuple[str, str], ImagePair]",
    stamp_of: "Callable[[ImagePair], object]",
) -> "tuple[dict[Key, Score], dict[Key, str]]":
    """The scores and failures of an unfinished run, but for images that were changed since."""
    from sr_jax.evaluation.scoring import Key, Score

    scores, errors = {}, {}
    for entry in (entry for journal in journals for entry in journal.entries.values()):
        when, error = entry.pop("stamp"), entry.pop("error", None)
        key = Key(*(entry[name] for name in Key._fields))
        pair = pairs.get((key.dataset, key.image))
        if pair and stamp_of(pair) == when:
            if error is None:
                scores[key] = Score(**entry)
            else:
                errors[key] = error
    return scores, errors


def _measured(
    scored: "Iterable[tuple[Key, ImagePair, Result]]", measure: "Extras"
) -> "Iterator[list[tuple[Key, ImagePair, Score | str]]]":
    """What was scored, with what is measured and kept beside."""
    for key, pair, result in scored:
        try:
            outcome = result if isinstance(result, str) else measure(pair, *result)
        except (ValueError, OSError) as error:
            outcome = str(error)
        yield [(key, pair, outcome)]


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
