"""What `sr-jax evaluate` has scored so far, and what it goes through."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_jax.commands.console import image_progress, printable
from sr_jax.commands.journal import Journal, stamp
from sr_jax.commands.many_scores import list_address

if TYPE_CHECKING:
    from rich.console import Console

    from sr_jax.data.sources import ImagePair
    from sr_jax.evaluation.extras import Extras
    from sr_jax.evaluation.scoring import Contender, Datasets, Key, Result, Score

    Scored = tuple[Key, ImagePair, Score | str]


def find_datasets(folders: Sequence[Path], scales: Sequence[int]) -> "tuple[Datasets, Stamps]":
    """The images of the folders, each a data set; says what was found in it.

    Raises:
        ValueError: a folder has no images, or two have the same name.
    """
    from sr_jax.data.sources.layouts import find_layout

    layouts, told = {}, Stamps()
    for folder in folders:
        listing, stamps = list_address(folder)
        layouts[folder.resolve().name] = find_layout(folder, scales, listing=listing)
        told |= {str(path): when for path, when in stamps.items()}
    if len(layouts) < len(folders):
        raise ValueError("two of the folders have the same name, which names the rows: rename one")
    for dataset, layout in layouts.items():
        print(printable(f"{dataset}: {layout.describe()}"))
    return {name: layout.pairs for name, layout in layouts.items()}, told


class Stamps(dict[str, Any]):
    """Which version of an image is meant, as addresses have told it, or the file system tells."""

    def of(self, pair: "ImagePair") -> object:
        """The version of an image."""
        place = str(pair.read_hr)
        return self.get(place) or stamp(place)


def list_keys(
    datasets: "Datasets", scales: Sequence[int], contenders: "Sequence[Contender]"
) -> "Iterator[Key]":
    """All that is scored, in the order of the tables."""
    from sr_jax.evaluation.scoring import Key

    for dataset, pairs in datasets.items():
        for scale in scales:
            for contender in contenders:
                for pair in pairs:
                    yield Key(dataset, scale, contender.method, pair.name)


def read_scores(
    journals: Sequence[Journal], datasets: "Datasets", stamps: Stamps
) -> "tuple[dict[Key, Score], dict[Key, str]]":
    """The scores and failures of an unfinished run, but for images that were changed since."""
    from sr_jax.evaluation.scoring import Key, Score

    pairs = {(dataset, pair.name): pair for dataset, own in datasets.items() for pair in own}
    scores, errors = {}, {}
    for entry in (entry for journal in journals for entry in journal.entries.values()):
        when, error = entry.pop("stamp"), entry.pop("error", None)
        key = Key(*(entry[name] for name in Key._fields))
        pair = pairs.get((key.dataset, key.image))
        if pair and stamps.of(pair) == when:
            if error is None:
                scores[key] = Score(**entry)
            else:
                errors[key] = error
    return scores, errors


def note_scores(journal: Journal, results: "Sequence[Scored]", stamps: Stamps) -> None:
    """Notes scores and failures, so that the command can go on."""
    entries: dict[str, Mapping[str, Any]] = {}
    for key, pair, result in results:
        entry = key._asdict() | {"error": result} if isinstance(result, str) else result._asdict()
        entries["/".join(map(str, key))] = entry | {"stamp": stamps.of(pair)}
    journal.add_all(entries)


def measure_all(
    scored: "Iterable[tuple[Key, ImagePair, Result]]", measure: "Extras"
) -> "Iterator[list[Scored]]":
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
