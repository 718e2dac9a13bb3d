"""`sr-jax upscale` of images that several processes share, or that are not on this machine."""

import contextlib
import dataclasses
import random
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sr_jax.commands.console import image_progress, printable, report_failure
from sr_jax.commands.files import find_images, is_file_name, name_outputs
from sr_jax.commands.many import Many, Table, give_out
from sr_jax.commands.model import OWN_SCALE, open_model
from sr_jax.inference.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from sr_jax.scale.on_ray import Cluster
    from sr_jax.scale.packing import Loaded
    from sr_jax.scale.parts import Part
    from sr_jax.scale.records import Item, Records
    from sr_jax.scale.upscaling import Job, Outcome

_BICUBIC = "bicubic"
# Images whose sizes are looked at before any is begun.
_SAMPLE = 500


def upscale_many(
    inputs: Sequence[Path],
    output: Path | None,
    settings: Settings,
    many: Many,
    *,
    model: str | None,
    step: int | None,
    allow: Collection[str],
    scale: float | None,
    suffix: str,
    kind: str,
    alpha: str,
    quality: int | None,
    overwrite: bool,
) -> None:
    """Upscales a part of images, or by the workers of a Ray cluster, or from and to addresses.

    The arguments are those of `upscale`; `kind` is the suffix of the files that are written.
    """
    if output is None or is_file_name(output):
        raise ValueError("give --output, a folder or an address for the results of many images")
    if many.ray:
        many.refuse({"--shard-image": settings.shard})  # a worker has one device
    from rich.console import Console

    from sr_jax.scale import places
    from sr_jax.scale.records import Records
    from sr_jax.scale.upscaling import Job

    part, cluster = many.read_part(), many.connect()
    items, failures = find_items(inputs, output, suffix, kind, part)
    networks, identities, scale = _open(model, scale, step, allow)
    asked = {"model": identities, "scale": scale, "alpha": alpha, "quality": quality}
    records = Records(places.locate(output), asked | dataclasses.asdict(settings))
    table = Table(records.output, part)
    items = _leave_finished(records, items, overwrite)
    jpeg, other = next(iter(networks)), list(networks)[-1]
    sizes = _sample_sizes(items, jpeg, other)
    job = Job(records, jpeg, other, scale, settings, sizes, alpha, quality)
    console = Console(stderr=True)
    for _, line in failures:
        report_failure(console, line)
    if items:
        failures += _work(job, networks, items, cluster, allow, console)
    table.write(failures)
    if failures:
        print(f"failed: {len(failures)}, see {table.place}")
        raise typer.Exit(1)


def find_items(
    inputs: Sequence[Path], output: Path, suffix: str, kind: str, part: "Part"
) -> "tuple[list[Item], list[tuple[str, str]]]":
    """The images of a part, and [image, reason] of those that cannot be upscaled.

    Names are given to all images of all parts, so that no two parts write the same file.
    """
    from sr_jax.scale import places
    from sr_jax.scale.parts import WHOLE
    from sr_jax.scale.records import Item

    found = find_images(inputs, output)
    targets, unnamed = name_outputs(found.files, output, suffix, kind)
    own = [path for path, name in found.files.items() if part.has(name.as_posix())]
    if part != WHOLE:
        print(f"part {part}: {len(own)} of {len(found.files)} images")
    for line in found.left_out:
        print(printable(f"left out of {line}"))
    failures = [("", problem) for problem in found.problems]
    failures += [(places.locate(path), unnamed[path]) for path in own if path in unnamed]
    names = {path: targets[path].relative_to(output).as_posix() for path in own if path in targets}
    before = places.stamps(places.locate(output), names.values())
    here = [path for path in names if path not in found.stamps]
    found.stamps.update(zip(here, places.ask_many(places.stamp, map(str, here)), strict=True))
    items = [
        Item(places.locate(path), name, found.stamps[path], before.get(name, ""))
        for path, name in names.items()
    ]
    return items, failures


def _open(
    model: str | None, scale: float | None, step: int | None, allow: Collection[str]
) -> "tuple[dict[str, Loaded | None], list[Any], float]":
    """The networks by their names, for images in JPEG first; what tells them apart; the scale."""
    from sr_jax import pretrained
    from sr_jax.inference.upscaler import network_factor

    if model == _BICUBIC and scale:
        return {model: None}, [model], scale
    names = [model] if model else []
    if not model:
        wanted = scale or OWN_SCALE
        names = [pretrained.choose(wanted, kind).name for kind in ("photo", "bicubic")]
        print(f"images in JPEG: {names[0]}, others: {names[1]} (--model takes another)")
    networks: dict[str, Loaded | None] = {}
    identities = []
    for name in names:
        opened = open_model(name, allow=allow, step=step)
        if opened.note:
            print(opened.note)
        networks[name] = opened.model, opened.variables
        identities.append(opened.identity)
        scale = scale or (network_factor(opened.model, None) if model else OWN_SCALE)
    return networks, identities, scale or OWN_SCALE


def _leave_finished(records: "Records", items: "list[Item]", overwrite: bool) -> "list[Item]":
    """The images that are not done.

    Raises:
        ValueError: a file that is not of this job would be replaced.
    """
    from sr_jax.scale import places

    if overwrite:
        return items
    found = records.sort(items)
    if found.strange:
        place = places.join(records.output, found.strange[0].target)
        raise ValueError(
            f"{place} exists and was not made by this command: give --overwrite, or another "
            "--output or --suffix"
        )
    if found.finished:
        print(f"going on (images done before: {len(found.finished)}); --overwrite does them anew")
    return found.todo


def _sample_sizes(
    items: "Sequence[Item]", jpeg: str, other: str
) -> dict[str, list[tuple[int, int]]]:
    """(height, width) of some of the images of each network; what is broken is told later."""
    from sr_jax.scale import places

    def ask(item: "Item") -> tuple[str, tuple[int, int]] | None:
        with contextlib.suppress(ValueError):
            size, is_jpeg = places.read_start(item.source)
            return jpeg if is_jpeg else other, size
        return None

    some = items if len(items) <= _SAMPLE else random.Random(0).sample(items, _SAMPLE)
    sizes: dict[str, list[tuple[int, int]]] = {jpeg: [], other: []}
    for name, size in filter(None, places.ask_many(ask, some)):
        sizes[name].append(size)
    return sizes


def _check_first(outcome: "Outcome", job: "Job") -> None:
    """Tells what the workers of a cluster compute on.

    Raises:
        ValueError: they write elsewhere than this machine reads.
    """
    print(f"the workers compute on {outcome.platform}")
    if not job.records.has(outcome.block):
        raise ValueError(
            f"the workers write to a {job.records.output} of their own: give a folder that all "
            "machines share, or an address"
        )


def _work(
    job: "Job",
    networks: "Mapping[str, Loaded | None]",
    items: "Sequence[Item]",
    cluster: "Cluster | None",
    allow: Collection[str],
    console: "Console",
) -> list[tuple[str, str]]:
    """Upscales images block by block; returns [image, reason] of those that failed."""
    from sr_jax.scale.blocks import split
    from sr_jax.scale.upscaling import Outcome, Upscaling

    failures: list[tuple[str, str]] = []
    written, begin = 0, time.perf_counter()
    blocks = split(items, cluster.workers if cluster else 1)
    with image_progress(console) as progress:
        task = progress.add_task("upscaling", total=len(items))
        given = give_out(cluster, Upscaling, job, networks, blocks, allow)
        for number, outcome in enumerate(Outcome(*told) for told in given):
            if cluster and number == 0:
                _check_first(outcome, job)
            written += outcome.written
            failures += outcome.failures
            for note in outcome.notes:
                console.print(printable(f"note: {note}"), markup=False, soft_wrap=True)
            if outcome.tries > 1:
                console.print("note: a worker ended, and another one went on with its images")
            for source, reason in outcome.failures:
                line = reason if source in reason else f"cannot upscale {source}: {reason}"
                report_failure(console, line)
            progress.update(task, advance=outcome.written + len(outcome.failures))
    seconds = time.perf_counter() - begin
    print(
        f"{written} of {len(items)} images written to {job.records.output} in {seconds:.1f} s "
        f"({written / seconds:.2f} images/s)"
    )
    return failures
