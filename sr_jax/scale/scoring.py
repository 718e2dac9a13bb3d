"""What a worker does with a block of images that are scored."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sr_jax.data.sources import ImagePair
from sr_jax.data.sources.images import ImageFile
from sr_jax.evaluation.extras import Extras
from sr_jax.evaluation.scoring import Contender, Key, Score, score_all
from sr_jax.inference.settings import Settings
from sr_jax.scale import places
from sr_jax.scale.blocks import ENDED, Block, Watch
from sr_jax.scale.packing import Loaded


class Image(NamedTuple):
    """An image that is scored, in plain values.

    Attributes:
        dataset, name: of the rows.
        hr: where the HR image lies.
        lr: [scale, place] of its LR images; at other scales they are made.
        asked: [scale, method] of its scores.
    """

    dataset: str
    name: str
    hr: str
    lr: list[tuple[int, str]]
    asked: list[tuple[int, str]]


class Job(NamedTuple):
    """How images are scored.

    Attributes:
        methods: name of a contender -> the name of its network, None for bicubic interpolation, and
            how images go through it.
        round_luma: see `score_image`.
        extras: see `Extras`.
    """

    methods: dict[str, tuple[str | None, Settings]]
    round_luma: bool
    extras: dict[str, Any]


class Outcome(NamedTuple):
    """What became of a block.

    Attributes:
        scores: as they were asked for.
        failures: what could not be scored, and why, in one line.
    """

    scores: list[Score]
    failures: list[tuple[Key, str]]


class Scoring:
    """A worker: scores blocks of images."""

    def __init__(
        self, job: Job, networks: Mapping[str, Loaded | None], watch: Watch | None = None
    ) -> None:
        """Takes what it needs; networks are by the names that the job gives them.

        `watch` is that of all workers; None: there is no other one.
        """
        self._watch = watch or Watch()
        self._contenders = {
            method: Contender(method, networks[name] if name else None, settings)
            for method, (name, settings) in job.methods.items()
        }
        self._round_luma, self._extras = job.round_luma, Extras(**job.extras)

    @staticmethod
    def parse(block: Sequence[Any]) -> Block[Image]:
        """A block of plain values."""
        name, images = block
        return Block(name, [Image(*image) for image in images])

    def __call__(self, block: Block[Image]) -> Outcome:
        """Scores images; what fails costs nothing else. See `Watch` for what ends the worker."""
        outcome = Outcome([], [])
        tries, ended = self._watch.begin(block.name)
        for image in block.items:
            if tries > 1:
                self._watch.at(block.name, image.hr)
            keys = [Key(image.dataset, scale, method, image.name) for scale, method in image.asked]
            with contextlib.ExitStack() as stack:
                try:
                    if image.hr in ended:
                        raise ValueError(ENDED)
                    pair = _open(image, stack)
                except (ValueError, OSError) as error:
                    outcome.failures.extend((key, str(error)) for key in keys)
                    continue
                for key in keys:
                    try:
                        outcome.scores.append(self._score(key, pair))
                    except (ValueError, OSError) as error:
                        outcome.failures.append((key, _with_places(str(error), image, pair)))
        self._watch.at(block.name, "")
        return outcome

    def _score(self, key: Key, pair: ImagePair) -> Score:
        contenders = [self._contenders[key.method]]
        ((_, _, result),) = score_all(
            {key.dataset: [pair]}, [key.scale], contenders, round_luma=self._round_luma
        )
        if isinstance(result, str):
            raise ValueError(result)
        return self._extras(pair, *result)


def _open(image: Image, stack: contextlib.ExitStack) -> ImagePair:
    """The pair, of files of this machine for as long as the stack lasts."""

    def file(place: str) -> ImageFile:
        return ImageFile(Path(stack.enter_context(places.local_copy(place))))

    scales = tuple(dict.fromkeys(scale for scale, _ in image.asked))
    lr = {scale: file(place) for scale, place in image.lr if scale in scales}
    return ImagePair(image.name, scales, file(image.hr), lr)


def _with_places(text: str, image: Image, pair: ImagePair) -> str:
    """A message with the names that the user knows in place of those of copies."""
    text = text.replace(str(pair.read_hr), image.hr)
    for scale, place in image.lr:
        if scale in pair.read_lr:
            text = text.replace(str(pair.read_lr[scale]), place)
    return text
