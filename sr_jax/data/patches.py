"""What is drawn: which patch of which image, at which scale and in which symmetry, is which row.

Every random choice is a function of the seed, the step and the row alone. So batch k is the same
whatever ran before it, however many processes share it, and whether `pipeline` cuts it on the host
or `resident` on the devices; and resuming needs no iterator state.
"""

import collections
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from absl import logging
from rich.console import Console
from rich.progress import track

from sr_jax.data.degradation import downscale
from sr_jax.data.sources import ImagePair, Reader
from sr_jax.data.streams import Streams
from sr_jax.imaging.color import rgb_to_luma
from sr_jax.imaging.files import to_float
from sr_jax.imaging.resize import imresize

# First words of the seeds of the three families of random choices.
_EPOCH, _STEP, _ROW = range(3)


class Patches(NamedTuple):
    """Where training examples lie, an array of integers (n,) each but for the last.

    Attributes:
        image: places among the sampler's images.
        scale: scales.
        top, left: of the input patches, pixels of the network's input.
        flips: of `symmetry`, (n, 3) of 0 or 1.
    """

    image: np.ndarray
    scale: np.ndarray
    top: np.ndarray
    left: np.ndarray
    flips: np.ndarray


class ImageCache:
    """Decoded images, the least recently used dropped once they take more than `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: collections.OrderedDict = collections.OrderedDict()
        self._lock = threading.Lock()

    def get(
        self, key: object, make: Callable[[], tuple[np.ndarray, ...]]
    ) -> tuple[np.ndarray, ...]:
        """The arrays kept under `key`, made (outside the lock) where they are not."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        arrays = make()
        with self._lock:
            if key not in self._entries:
                self._entries[key] = arrays
                self._bytes += _size(arrays)
            while self._bytes > self._max_bytes:
                _, dropped = self._entries.popitem(last=False)
                self._bytes -= _size(dropped)
        return arrays


def _size(arrays: tuple[np.ndarray, ...]) -> int:
    return sum(array.nbytes for array in arrays)


@dataclass(frozen=True)
class PatchSampler:
    """Draws the training examples of every step.

    Images are visited in a new random order each epoch; patches and symmetries are uniform. The
    next image takes the place of one that cannot be read, which the log names. Networks that take
    an interpolated image get one scale a row, all others one scale a step, because there the scale
    decides the size of the target.

    Attributes:
        images: the training images.
        scales: the scales that are drawn from, uniformly.
        patch_size: side of the network's input patch: of the LR patch, or, for networks that take
            an interpolated image, of the patch on the output grid.
        batch_size: rows of the global batch.
        seed: a non-negative integer.
        n_colors: 3, or 1 for luma.
        interpolated: whether the network takes an image that is already interpolated.
        cache: decoded images.
        sizes: (place of an image, scale) -> height and width of that input, of those seen so far.
        broken: (place of an image, scale) -> why it could not be read, of those so far.
    """

    images: Sequence[ImagePair]
    scales: tuple[int, ...]
    patch_size: int
    batch_size: int
    seed: int
    n_colors: int = 3
    interpolated: bool = False
    cache: ImageCache = field(default_factory=lambda: ImageCache(2**30))
    sizes: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict, repr=False)
    broken: dict[tuple[int, int], ValueError] = field(default_factory=dict, repr=False)

    def scale(self, step: int) -> int:
        """The scale of a step, for networks that have one scale a step."""
        return int(np.random.default_rng((self.seed, _STEP, step)).choice(self.scales))

    def smallest_side(self) -> int:
        """What the shorter side of an HR image must have for a patch of any scale, in pixels."""
        if not self.interpolated:
            return self.patch_size * max(self.scales)
        # Images are cropped to multiples of the scale.
        return max(-(-self.patch_size // scale) * scale for scale in self.scales)

    def without_small_images(self) -> "PatchSampler":
        """The sampler without images that are smaller than a patch, or that are none.

        The log names them.

        Raises:
            ValueError: none is left, or the files of a pair do not fit each other.
        """
        least = self.smallest_side()
        usable: list[ImagePair] = []
        small: list[ImagePair] = []
        console = Console(stderr=True)
        checked = track(
            self.images,
            "checking sizes",
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        for image in checked:
            try:
                side = image.shorter_side() or least
            except ValueError as error:
                logging.warning("left out of training: %s", error)
                continue
            image.check_sizes()
            (usable if side >= least else small).append(image)
        if small:
            names = ", ".join(image.name for image in small[:10])
            logging.warning(
                "%d of %d training images are left out, as their shorter side is under %d pixels, "
                "what a patch takes: %s",
                len(small),
                len(self.images),
                least,
                names + (" ..." if len(small) > 10 else ""),
            )
        if not usable:
            raise ValueError(
                f"no training image has a shorter side of {least} pixels or more, which "
                f"data.lr_patch_size {self.patch_size} takes: choose a smaller patch"
            )
        return dataclasses.replace(self, images=usable)

    def rows(self, step: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows start..stop-1 of the global batch of a step.

        Returns:
            (inputs, targets), float32 in [0, 1] of shape (rows, p, p, n_colors) and
            (rows, s * p, s * p, n_colors), s = 1 for an interpolated input.

        Raises:
            ValueError: an image is smaller than a patch, or none can be read; one is named.
        """
        places = self.draw(np.full(stop - start, step), np.arange(start, stop), self._sizes)
        examples = [self._cut(*place) for place in zip(*places, strict=True)]
        inputs, targets = zip(*examples, strict=True)
        return np.stack(inputs), np.stack(targets)

    def draw(
        self,
        steps: np.ndarray,
        rows: np.ndarray,
        sizes_of: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ) -> Patches:
        """The patches that become some rows of the global batches of some steps.

        Args:
            steps: of each patch, (n,), from 0.
            rows: of each patch, (n,), from 0, below `batch_size`.
            sizes_of: (places of images (n,), scales (n,)) -> height and width of the network's
                inputs, (n, 2).

        Raises:
            ValueError: an image is smaller than a patch; it is named.
        """
        epochs, positions = np.divmod(steps * self.batch_size + rows, len(self.images))
        image = np.empty(len(rows), np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            image[here] = _permutation(self.seed, int(epoch), len(self.images))[positions[here]]
        streams = Streams((self.seed, _ROW, steps, rows))
        scales = np.asarray(self.scales)
        if self.interpolated:
            scale = scales[streams.integers(len(scales))]
        else:
            scale = scales[Streams((self.seed, _STEP, steps)).integers(len(scales))]
        sizes, side = sizes_of(image, scale), self.patch_size
        small = np.flatnonzero(sizes.min(axis=1) < side)
        if small.size:
            (height, width), first = sizes[small[0]], self.images[image[small[0]]]
            raise ValueError(
                f"{first.name} is {height}x{width} pixels at the network's input "
                f"(x{scale[small[0]]}), smaller than data.lr_patch_size {side}: remove it or "
                "choose a smaller patch"
            )
        top, left = (streams.integers(sizes[:, axis] - side + 1) for axis in (0, 1))
        flips = np.stack([streams.integers(2) for _ in range(3)], axis=1)
        return Patches(image, scale, top, left, flips)

    def _cut(
        self, image: int, scale: int, top: int, left: int, flips: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        patches = []
        factors = (1, 1 if self.interpolated else scale)
        for array, factor in zip(self._pair(int(image), int(scale)), factors, strict=True):
            rows = slice(top * factor, (top + self.patch_size) * factor)
            columns = slice(left * factor, (left + self.patch_size) * factor)
            patches.append(_as_float(symmetry(array[rows, columns], flips)))
        return patches[0], patches[1]

    def _sizes(self, images: np.ndarray, scales: np.ndarray) -> np.ndarray:
        keys = list(zip(images.tolist(), scales.tolist(), strict=True))
        for key in keys:
            if key not in self.sizes:  # of the cache, which drops images
                self.sizes[key] = self._pair(*key)[0].shape[:2]
        return np.array([self.sizes[key] for key in keys])

    def _pair(self, index: int, scale: int) -> tuple[np.ndarray, ...]:
        """Of the first image from this place on that can be read."""
        for place in self.places_from(index):
            if (place, scale) in self.broken:
                continue
            image, colors, interpolated = self.images[place], self.n_colors, self.interpolated
            make = functools.partial(network_pair, image, scale, colors, interpolated)
            try:
                return self.cache.get((place, scale), make)
            except ValueError as error:
                self.give_up(place, scale, error)
        raise ValueError(f"none of the training images can be read: {self.broken[index, scale]}")

    def places_from(self, index: int) -> Iterator[int]:
        """The place of an image and those after it, all round."""
        return ((index + offset) % len(self.images) for offset in range(len(self.images)))

    def give_up(self, place: int, scale: int, error: ValueError) -> None:
        """Notes that an image cannot be read at a scale."""
        if (place, scale) not in self.broken:
            self.broken[place, scale] = error
            logging.warning("left out of training: %s", error)


def network_pair(
    image: ImagePair, scale: int, n_colors: int = 3, interpolated: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Reads an image as the input and the target of a network.

    For networks that take an interpolated image, the input is made from the HR image by the
    protocol of SRCNN and VDSR: RGB/255 -> luma -> bicubic down -> bicubic up, all in double
    precision and nowhere rounded to 8 bit (`generate_test_mat.m` of twtygqyy/pytorch-vdsr). An
    LR image that the data set brings is used instead where there is one, and interpolated.

    Args:
        image: where the images are read from.
        scale: one of `image.scales`.
        n_colors: 3 for RGB, or 1 for BT.601 luma.
        interpolated: whether the network takes an image interpolated to the output grid.

    Returns:
        `(input, target)` of shapes `(h, w, n_colors)` and `(scale * h, scale * w, n_colors)`,
        or both the latter if `interpolated`. RGB that is not interpolated is uint8 as it was read;
        everything else is float32, in [0, 1] (RGB) or [16/255, 235/255] (luma), which an
        interpolated input may overshoot a little.

    Raises:
        ValueError: if `n_colors` is neither 1 nor 3; otherwise as `ImagePair.pair`.
    """
    if n_colors not in (1, 3):
        raise ValueError(f"n_colors is {n_colors}, expected 3 (RGB) or 1 (luma)")
    if interpolated and scale in image.scales and scale not in image.read_lr:
        target = _in_double(image.hr(scale), n_colors)
        lr = downscale(target, scale)
    else:
        lr, target = image.pair(scale)
        if n_colors == 3 and not interpolated:
            return lr, target
        lr, target = _in_double(lr, n_colors), _in_double(target, n_colors)
    if interpolated:
        lr = imresize(lr, size=target.shape[:2])
    return lr.astype(np.float32), target.astype(np.float32)


def network_images(
    image: ImagePair, scales: Sequence[int], n_colors: int = 3, interpolated: bool = False
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """`network_pair` of several scales, for which the HR image is read once.

    Returns:
        `(inputs, target)`: the inputs of the scales, in their order, and one target for all. That
        of `network_pair` is its top left part, bit for bit.

    Raises:
        ValueError: as `network_pair`.
    """
    image = dataclasses.replace(image, read_hr=_Once(image.read_hr))
    inputs = tuple(network_pair(image, scale, n_colors, interpolated)[0] for scale in scales)
    whole = image.hr()
    if n_colors == 3 and not interpolated:
        return inputs, whole
    return inputs, _in_double(whole, n_colors).astype(np.float32)


@dataclass(frozen=True)
class _Once:
    """Keeps what a reader has read; prints as that reader."""

    read: Reader

    @functools.cached_property
    def _image(self) -> np.ndarray:
        return self.read()

    def __call__(self) -> np.ndarray:
        return self._image

    def __str__(self) -> str:
        return str(self.read)


def _in_double(rgb: np.ndarray, n_colors: int) -> np.ndarray:
    image = to_float(rgb, np.float64)
    return rgb_to_luma(image) if n_colors == 1 else image


@functools.lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, length: int) -> np.ndarray:
    return np.random.default_rng((seed, _EPOCH, epoch)).permutation(length)


def symmetry(patch: np.ndarray, flips: Sequence[int] | np.ndarray) -> np.ndarray:
    """One of the 8 symmetries of the square: flip the rows, flip the columns, transpose."""
    if flips[0]:
        patch = patch[::-1]
    if flips[1]:
        patch = patch[:, ::-1]
    return patch.swapaxes(0, 1) if flips[2] else patch


def _as_float(patch: np.ndarray) -> np.ndarray:
    return patch.astype(np.float32) / np.float32(255) if patch.dtype == np.uint8 else patch
