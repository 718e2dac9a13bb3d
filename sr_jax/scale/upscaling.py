"""What a worker does with a block of images."""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from sr_jax.imaging.files import (
    JPEG_BEGINS,
    Picture,
    decode_picture,
    encode_picture,
)
from sr_jax.inference.layout import share_programs
from sr_jax.inference.settings import Settings
from sr_jax.inference.upscaler import network_factor, resize_image, scaled_size, upscale_image
from sr_jax.scale import places
from sr_jax.scale.blocks import ENDED, Block, Watch
from sr_jax.scale.packing import Loaded
from sr_jax.scale.records import Item, Records

Given = TypeVar("Given")
Answer = TypeVar("Answer")

# Images that are read ahead, and results that wait to be written, while the network computes.
_AHEAD = 4
# Values of a result that none other waits beside.
_LARGE = 2**26


@dataclasses.dataclass(frozen=True)
class Job:
    """What is made of images.

    Attributes:
        records: what is done.
        jpeg, other: the names of the networks for images in JPEG and for others.
        scale: by which images are enlarged.
        settings: how they go through a network.
        sizes: (height, width) of some of the images of each network, by which those of many sizes
            share programs.
        alpha: see `upscale_image`.
        quality: see `write_image`.
    """

    records: Records
    jpeg: str
    other: str
    scale: float
    settings: Settings
    sizes: Mapping[str, Sequence[tuple[int, int]]]
    alpha: str = "bicubic"
    quality: int | None = None


class Outcome(NamedTuple):
    """What became of a block.

    Attributes:
        block: its name.
        written: how many results there are.
        failures: [image, reason] of the others.
        notes: what there is to say of single images.
        tries: how many workers were given the block, those that ended meanwhile included.
        platform: what the worker computes on.
    """

    block: str
    written: int
    failures: list[tuple[str, str]]
    notes: list[str]
    tries: int
    platform: str


class Upscaling:
    """A worker: upscales blocks of images. It holds the networks, and compiles each once a size."""

    def __init__(
        self, job: Job, networks: Mapping[str, Loaded | None], watch: Watch | None = None
    ) -> None:
        """Takes what it needs.

        Args:
            job: what is made of images.
            networks: by the names that the job gives them; None is bicubic interpolation.
            watch: of all workers; None: there is no other one.
        """
        self._job, self._networks, self._watch = job, networks, watch or Watch()
        self._settings: dict[str, Settings] = {}
        self._pool = ThreadPoolExecutor(2 * _AHEAD)

    @staticmethod
    def parse(block: Sequence[Any]) -> Block[Item]:
        """A block of plain values."""
        name, items = block
        return Block(name, [Item(*item) for item in items])

    def __call__(self, block: Block[Item]) -> Outcome:
        """Upscales the images of a block that are not done.

        One that cannot be read, enlarged or written costs no other one; see `Watch` for one that
        ends the worker.

        Raises:
            ValueError, OSError: what is done cannot be noted.
        """
        records, watch = self._job.records, self._watch
        tries, ended = watch.begin(block.name)
        done = records.begin(block)
        left = [item for item in block.items if item.target not in done]
        todo = [item for item in left if item.target not in ended]
        failures = [(item.source, ENDED) for item in left if item.target in ended]
        notes: list[str] = []
        for items in [todo] if tries == 1 else [[item] for item in todo]:
            if tries > 1:
                watch.at(block.name, items[0].target)
            for item, failure in self._upscale(items, notes, _AHEAD if tries == 1 else 0):
                if failure:
                    failures.append((item.source, failure))
                else:
                    done.add(item.target)
        watch.at(block.name, "")
        records.note(block, done)
        platform = jax.default_backend()
        return Outcome(block.name, len(done), failures, notes, tries, platform)

    def _upscale(
        self, items: Sequence[Item], notes: list[str], ahead: int
    ) -> Iterator[tuple[Item, str]]:
        """Each image, and why it failed; files are read and written while the network computes."""
        writing: deque[tuple[Item, Future[None]]] = deque()
        for item, future in _read_ahead(self._pool, _read, items, ahead):
            most = ahead
            try:
                picture, jpeg = future.result()
                result = self._enlarge(picture.pixels, self._job.jpeg if jpeg else self._job.other)
            except _FAILURES as error:
                yield item, _reason(error)
                continue
            if picture.pixels.dtype == np.uint16 and self._job.settings.dtype == "bfloat16":
                notes.append(f"{item.source} has 16 bits, bfloat16 keeps 8: give --dtype float32")
            writing.append((item, self._pool.submit(self._write, item, result, picture)))
            most = 0 if result.size > _LARGE else ahead
            while len(writing) > most:
                yield _finish(*writing.popleft())
        for each in writing:
            yield _finish(*each)

    def _enlarge(self, image: np.ndarray, name: str) -> np.ndarray:
        job, loaded = self._job, self._networks[name]
        size = scaled_size(image.shape, job.scale)
        if loaded is None:
            return resize_image(image, size)
        factor = network_factor(loaded[0], job.scale)
        if name not in self._settings:
            sizes = job.sizes.get(name, ())
            self._settings[name] = share_programs(*loaded, sizes, factor, job.settings)
        own = size == scaled_size(image.shape, factor)
        settings = self._settings[name]
        return upscale_image(
            *loaded, image, factor, settings, size=None if own else size, alpha=job.alpha
        )

    def _write(self, item: Item, result: np.ndarray, picture: Picture) -> None:
        place = places.join(self._job.records.output, item.target)
        _, icc_profile, metadata = picture
        content = encode_picture(place, result, icc_profile, metadata, self._job.quality)
        places.write(place, content)


_FAILURES = (ValueError, OSError, MemoryError, RuntimeError)


def _read(item: Item) -> tuple[Picture, bool]:
    """An image, and whether its file is in JPEG."""
    content = places.read(item.source)
    return decode_picture(content, item.source), content.startswith(JPEG_BEGINS)


def _read_ahead(
    pool: ThreadPoolExecutor,
    function: Callable[[Given], Answer],
    given: Iterable[Given],
    ahead: int,
) -> Iterator[tuple[Given, Future[Answer]]]:
    """Calls a function for each of many, for so many ahead of the one that is used."""
    waiting: deque[tuple[Given, Future[Answer]]] = deque()
    for each in given:
        waiting.append((each, pool.submit(function, each)))
        if len(waiting) > ahead:
            yield waiting.popleft()
    yield from waiting


def _finish(item: Item, future: Future[Any]) -> tuple[Item, str]:
    try:
        future.result()
    except _FAILURES as error:
        return item, _reason(error)
    return item, ""


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        return "not enough memory: give a smaller --tile or --batch"
    return text
