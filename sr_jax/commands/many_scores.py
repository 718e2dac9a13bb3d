"""`sr-jax evaluate` by several processes, or of images that are not on this machine."""

import glob
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_jax.commands.console import image_progress
from sr_jax.commands.journal import Journal
from sr_jax.commands.many import give_out

if TYPE_CHECKING:
    from rich.console import Console

    from sr_jax.data.sources import ImagePair
    from sr_jax.evaluation.scoring import Contender, Datasets, Key, Score
    from sr_jax.imaging.listing import Listing
    from sr_jax.scale.on_ray import Cluster
    from sr_jax.scale.parts import Part


def list_address(folder: Path) -> "tuple[Listing | None, dict[Path, str]]":
    """What lies at an address, and the stamps of the images; nothing for a folder that is here."""
    from sr_jax.scale import places

    return places.list_files(places.locate(folder)) if places.is_address(folder) else (None, {})


def journal_place(output: Path, part: "Part") -> Path:
    """The file of the scores that a command has found so far, or that a part has found."""
    which = f"-{part.number}-of-{part.count}" if part.count > 1 else ""
    return output.with_suffix(f".unfinished{which}.jsonl")


def find_parts(output: Path, request: Mapping[str, Any]) -> list[Journal]:
    """What the parts of a command have found.

    Raises:
        ValueError: there is none, or one is of another command.
    """
    pattern = f"{glob.escape(output.stem)}.unfinished-*-of-*.jsonl"
    paths = sorted(output.parent.glob(pattern))
    if not paths:
        raise ValueError(f"--join finds no {output.with_suffix('.unfinished-1-of-N.jsonl')}")
    journals = [Journal(path, request) for path in paths]
    for path, journal in zip(paths, journals, strict=True):
        if not journal.entries:
            raise ValueError(
                f"{path} is of other images, networks or options: give those of the parts, or "
                "remove it"
            )
    return journals


def score_many(
    cluster: "Cluster | None",
    datasets: "Datasets",
    scales: Sequence[int],
    contenders: "Sequence[Contender]",
    extras: Mapping[str, Any],
    *,
    round_luma: bool,
    done: "Collection[Key]",
    allow: Collection[str],
    console: "Console",
) -> "Iterator[list[tuple[Key, ImagePair, Score | str]]]":
    """The scores of block after block of images, by workers: see `scoring.score_all`.

    Yields:
        What was scored, the image, and the score or what went wrong, in one line.
    """
    from sr_jax.evaluation.scoring import Key, Score
    from sr_jax.scale import places
    from sr_jax.scale.blocks import split
    from sr_jax.scale.scoring import Image, Job, Outcome, Scoring

    names: dict[int, str] = {}
    methods = {}
    for contender in contenders:
        network = contender.network
        name = names.setdefault(id(network), contender.method) if network else None
        methods[contender.method] = (name, contender.settings)
    networks = {c.method: c.network for c in contenders if c.method in names.values()}
    images = []
    pairs = {(dataset, pair.name): pair for dataset, own in datasets.items() for pair in own}
    for (dataset, name), pair in pairs.items():
        asked = [
            (scale, contender.method)
            for scale in scales
            for contender in contenders
            if Key(dataset, scale, contender.method, name) not in done
        ]
        lr = [(scale, places.locate(str(file))) for scale, file in pair.read_lr.items()]
        if asked:
            images.append(Image(dataset, name, places.locate(str(pair.read_hr)), lr, asked))
    if not images:
        return
    job = Job(methods, round_luma, dict(extras))
    total = sum(len(image.asked) for image in images)
    blocks = split(images, cluster.workers if cluster else 1)
    with image_progress(console) as progress:
        task = progress.add_task("scoring", total=total + len(done), completed=len(done))
        given = give_out(cluster, Scoring, job, networks, blocks, allow)
        for outcome in (Outcome(*told) for told in given):
            found = [Score(*score) for score in outcome.scores]
            results: list[tuple[Key, Score | str]] = [(Key(*score[:4]), score) for score in found]
            results += [(Key(*key), reason) for key, reason in outcome.failures]
            yield [(key, pairs[key.dataset, key.image], result) for key, result in results]
            progress.update(task, advance=len(results))
