"""The options of commands whose work several processes or machines share."""

import csv
import io
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from sr_jax.commands.compilations import keep_compilations

if TYPE_CHECKING:
    from sr_jax.scale import parts as scale_parts
    from sr_jax.scale.on_ray import Cluster
    from sr_jax.scale.packing import Loaded

_HEAD = "image,reason\n"
# As `sr_jax.scale.on_ray.LOCAL`; a command line is parsed without importing what computes.
_LOCAL = "local"
_CLUSTER = re.compile(r"local|auto|ray://.+|[\w.-]+:\d+|\[[0-9a-f:]+\]:\d+", re.IGNORECASE)

Part = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Do one of N equal parts of the images, which are told apart by their names. In a "
        "SLURM array 'auto' is the part of this task, and 'N' too, of N parts.",
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="[ADDRESS]",
        help="Give the images to the workers of a Ray cluster: HOST:PORT, 'auto' for the one that "
        "this machine belongs to; without an address Ray is started here. Needs the extra scale.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="Of --ray. By default one for each GPU, or else one for two CPU cores."
    ),
]


class RayCommand(TyperCommand):
    """A command whose `--ray` may stand alone: what follows is its value if it is an address."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts the address in that was left out."""
        given = list(args)
        for at, word in enumerate(args):
            after = args[at + 1] if at + 1 < len(args) else ""
            if word == "--ray" and not _CLUSTER.fullmatch(after):
                given[at] = f"--ray={_LOCAL}"
            elif word == "--":
                break
        return super().parse_args(ctx, given)


@dataclass(frozen=True)
class Many:
    """What a command was told of the processes that share its work.

    Attributes:
        part, ray, workers: the options.
    """

    part: str | None = None
    ray: str | None = None
    workers: int | None = None

    def takes(self, inputs: Iterable[Path], output: Path | None = None) -> bool:
        """Whether this is work for several processes, or of files that are not on this machine.

        Says so where a task of a SLURM array was not told to do a part.

        Raises:
            ValueError: the options contradict each other.
        """
        from sr_jax.scale.parts import untold_part
        from sr_jax.scale.places import is_address

        if self.ray and self.part:
            raise ValueError("--part shares the images without Ray: give --ray or --part")
        if self.ray and not _CLUSTER.fullmatch(self.ray):
            raise ValueError(f"--ray is {self.ray!r}, expected HOST:PORT, auto or nothing")
        if self.workers and not self.ray:
            raise ValueError("--workers is of --ray: give that too")
        if self.part is None and self.ray is None and (note := untold_part(os.environ)):
            print(note, file=sys.stderr)
        places = [*inputs, *([output] if output else [])]
        return bool(self.part or self.ray or any(map(is_address, places)))

    def read_part(self) -> "scale_parts.Part":
        """The part that is done; the whole where nothing was said of parts."""
        from sr_jax.scale.parts import WHOLE, parse_part

        return parse_part(self.part, os.environ) if self.part else WHOLE

    def connect(self) -> "Cluster | None":
        """The cluster of --ray, without which there is None.

        It comes before anything asks for devices: those of this machine are for the workers.
        """
        if not self.ray:
            return None
        from sr_jax.scale import on_ray

        cluster = on_ray.connect(self.ray, self.workers)
        print(cluster.describe())
        import jax

        jax.config.update("jax_platforms", "cpu")
        return cluster

    def refuse(self, options: Mapping[str, object]) -> None:
        """Raises ValueError if an option was given that such work does not have."""
        for option, given in options.items():
            if given:
                why = "--ray" if self.ray else "--part" if self.part else "addresses"
                raise ValueError(f"{option} does not go with {why}: leave it out")


def give_out(
    cluster: "Cluster | None",
    kind: Any,
    job: Any,
    networks: "Mapping[str, Loaded | None]",
    blocks: Sequence[Any],
    allow: Collection[str],
) -> Iterator[Any]:
    """What becomes of blocks of images, as they are done; in plain values those of a cluster.

    Args:
        cluster: of `Many.connect`.
        kind: of the workers, `upscaling.Upscaling` or `scoring.Scoring`.
        job: theirs.
        networks: theirs.
        blocks: the work.
        allow: import paths of networks outside this package that may be imported.
    """
    if cluster is None:
        keep_compilations()
        yield from map(kind(job, networks), blocks)
        return
    from sr_jax.scale import on_ray, packing

    packed = packing.pack(networks)
    arguments = (kind, job, packed, allow, keep_compilations, cluster.memory_share)
    yield from on_ray.run(cluster, packing.start, arguments, blocks)


class Table:
    """The table of what failed, beside the results: image, reason.

    Attributes:
        place: the file.
    """

    def __init__(self, output: str, part: "scale_parts.Part") -> None:
        """Names it.

        Raises:
            ValueError: another file has its name.
        """
        from sr_jax.scale import places

        which = f"-{part.number}-of-{part.count}" if part.count > 1 else ""
        self.place = places.join(output, f"failures{which}.csv")
        found = places.read_text(self.place)
        if found and not found.startswith(_HEAD):
            raise ValueError(
                f"{self.place} is no table of failures: move it, or give another --output"
            )

    def write(self, failures: Sequence[tuple[str, str]]) -> None:
        """Writes the table; without failures there is none, nor one of an earlier run."""
        from sr_jax.scale import places

        if not failures:
            places.remove(self.place)
            return
        text = io.StringIO()
        text.write(_HEAD)
        csv.writer(text, lineterminator="\n").writerows(failures)
        places.write(self.place, os.fsencode(text.getvalue()))
