"""Training images on the devices: decoded once, kept there whole, cut inside the jitted step.

The host only draws which patch is which row (`sr_jax.data.patches`), hundreds of steps ahead.
Batch k is bit for bit that of `sr_jax.data.pipeline`.

On the devices the images of a kind, network inputs or targets, lie one after the other, row by row,
in one flat array a colour channel. A row of a patch is then a run of such an array. (One array
of pixels, three bytes each, would take a third more on a TPU, which pads them to four.)
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from rich.console import Console
from rich.progress import Progress

from sr_jax.cluster import all_agree
from sr_jax.data.patches import PatchSampler, network_images, network_pair
from sr_jax.mesh import replicated
from sr_jax.ops.devices import BATCH_AXIS

PLACEMENTS = ("auto", "host", "device")

# What a jitted step takes in place of a batch, and how the devices share it: see `batches`.
SPECS = {
    "images": PartitionSpec(),
    "plan": PartitionSpec(None, BATCH_AXIS),
    "first": PartitionSpec(),
}

# Of a device's memory that `auto` gives to the images; the step takes the rest.
_SHARE = 0.25
# Starts of runs are uint32.
_MAX_PIXELS = 2**32 - 1
# Steps whose plan is drawn, and moved to the devices, at once: one such chunk is drawn ahead.
CHUNK = 256
_PATIENCE = 5.0  # seconds, after which loading shows a bar

# A byte as a float32: XLA may turn a division by 255 into a multiplication, which rounds otherwise.
_TO_FLOAT = np.arange(256).astype(np.float32) / np.float32(255)

Channels = tuple[jax.Array, ...]


@dataclass(frozen=True)
class ResidentImages:
    """The training images of a sampler, on every device of a mesh.

    Attributes:
        channels: "lr", the networks' inputs of all scales, and "hr", the targets: one flat array a
            colour channel, uint8 as read or float32 as `network_pair` makes it.
        inputs: where the inputs begin in their flat arrays, in pixels, and their heights and
            widths: int64 (images, scales, 3).
        targets: those of the targets, (images, 3).
        used: which image is used in whose place: itself, or the next one that could be read;
            (images, scales).
    """

    channels: dict[str, Channels]
    inputs: np.ndarray
    targets: np.ndarray
    used: np.ndarray

    def plan(self, sampler: PatchSampler, steps: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Where the patches of some rows of some steps lie.

        Args:
            sampler: what to draw.
            steps, rows: of each patch, (n,).

        Returns:
            uint32 (n, 5): first pixel and width of the input's image, first pixel and width of
            the target's, and the three flips as bits.

        Raises:
            ValueError: an image is smaller than a patch; it is named.
        """
        order = np.argsort(sampler.scales)

        def find(images: np.ndarray, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            columns = order[np.searchsorted(sampler.scales, scales, sorter=order)]
            return self.used[images, columns], columns

        patches = sampler.draw(steps, rows, lambda i, s: self.inputs[find(i, s)][:, 1:])
        place, column = find(patches.image, patches.scale)
        lr_start, _, lr_width = self.inputs[place, column].T
        hr_start, _, hr_width = self.targets[place].T
        factor = 1 if sampler.interpolated else patches.scale
        columns = (
            lr_start + patches.top * lr_width + patches.left,
            lr_width,
            hr_start + factor * (patches.top * hr_width + patches.left),
            hr_width,
            patches.flips @ [1, 2, 4],
        )
        return np.stack(columns, axis=1).astype(np.uint32)


def place(sampler: PatchSampler, mesh: Mesh, placement: str) -> ResidentImages | None:
    """Reads the training images onto the devices where a recipe wants them there.

    `auto` wants them on accelerators that tell how much memory they have, if they take no more
    than a quarter of it. Every process must call.

    Args:
        sampler: has the images.
        mesh: the devices; each gets all images.
        placement: one of `PLACEMENTS`.

    Returns:
        The images, or None where the host shall cut the patches.

    Raises:
        ValueError: no image can be read, or `device` was asked for and they do not fit.
    """
    stats = jax.local_devices()[0].memory_stats() or {}
    memory = stats.get("bytes_limit", 0)
    accelerator = jax.default_backend() != "cpu"
    if placement == "host" or (placement == "auto" and not (accelerator and memory)):
        return None
    limit = memory * (_SHARE if placement == "auto" else 1.0) if memory else float("inf")
    arrays = _read(sampler, limit)
    if all_agree(arrays is not None) and arrays is not None:
        return _pack(sampler, mesh, *arrays)
    reason = f"the decoded training images take more than {limit / 1e9:.3g} GB or 2**32 pixels"
    if placement == "device":
        raise ValueError(
            f"data.placement is device, but {reason}, what a device can keep: set it to host"
        )
    logging.info("%s: patches are cut on the host", reason)
    return None


def _read(
    sampler: PatchSampler, max_bytes: float
) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
    """The inputs of all images and scales, and the targets; None if they are too large."""

    kind = sampler.n_colors, sampler.interpolated
    nothing = np.zeros((0, 0, sampler.n_colors), np.uint8 if kind == (3, False) else np.float32)

    def read(place: int) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        image = sampler.images[place]
        with contextlib.suppress(ValueError):
            return network_images(image, sampler.scales, *kind)
        inputs, target = [], nothing
        for scale in sampler.scales:  # of which some may be readable
            try:
                inputs.append(network_pair(image, scale, *kind)[0])
                target = network_images(image, (scale,), *kind)[1]
            except ValueError as error:
                sampler.give_up(place, scale, error)
                inputs.append(nothing)
        return tuple(inputs), target

    lr: list[np.ndarray] = []
    hr: list[np.ndarray] = []
    size = 0
    places = range(len(sampler.images))
    with ThreadPoolExecutor() as threads:
        for inputs, target in _shown(threads.map(read, places), len(places)):
            lr += inputs
            hr.append(target)
            size += sum(array.nbytes for array in (*inputs, target))
            if size > max_bytes or any(_pixels(arrays) > _MAX_PIXELS for arrays in (lr, hr)):
                threads.shutdown(cancel_futures=True)
                return None
    return lr, hr


def _shown(images: Iterable[Any], total: int) -> Iterator[Any]:
    """Passes on what it gets, with a bar once that takes long."""
    began = time.perf_counter()
    console = Console(stderr=True)
    hidden = jax.process_index() > 0 or not console.is_terminal
    bar = Progress(console=console, transient=True, disable=hidden)
    task = bar.add_task("reading images", total=total)
    try:
        for image in images:
            yield image
            bar.advance(task)
            if time.perf_counter() - began > _PATIENCE:
                bar.start()
    finally:
        bar.stop()


def _pixels(arrays: Sequence[np.ndarray]) -> int:
    return sum(array.shape[0] * array.shape[1] for array in arrays)


def _pack(
    sampler: PatchSampler, mesh: Mesh, lr: list[np.ndarray], hr: list[np.ndarray]
) -> ResidentImages:
    inputs = _places(lr).reshape(len(hr), len(sampler.scales), 3)
    channels = {"lr": _flat_channels(mesh, lr), "hr": _flat_channels(mesh, hr)}
    used = [[_readable(sampler, place, s) for s in sampler.scales] for place in range(len(hr))]
    return ResidentImages(channels, inputs, _places(hr), np.array(used))


def _readable(sampler: PatchSampler, index: int, scale: int) -> int:
    for place in sampler.places_from(index):
        if (place, scale) not in sampler.broken:
            return place
    raise ValueError(f"none of the training images can be read: {sampler.broken[index, scale]}")


def _places(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Where images that lie one after the other begin, and their heights and widths: (n, 3)."""
    sizes = np.array([array.shape[:2] for array in arrays], np.int64)
    ends = np.cumsum(sizes.prod(axis=1))
    return np.column_stack([np.append(0, ends[:-1]), sizes])


def _flat_channels(mesh: Mesh, arrays: Sequence[np.ndarray]) -> Channels:
    """One after the other, so that the host holds one more copy of one channel only."""
    return tuple(
        _on_every_device(mesh, np.concatenate([array[..., channel].ravel() for array in arrays]))
        for channel in range(arrays[0].shape[2])
    )


def _on_every_device(mesh: Mesh, value: np.ndarray) -> jax.Array:
    # device_put would compare the values of all processes, which takes a broadcast of the data set.
    return jax.make_array_from_callback(value.shape, replicated(mesh), lambda _: value)


def batches(
    sampler: PatchSampler, images: ResidentImages, mesh: Mesh, start: int, stop: int
) -> Iterator[dict[str, Any]]:
    """What the steps start..stop-1 cut their batches from, drawn ahead in a thread.

    Every process draws its own rows only.

    Args:
        sampler: what to draw.
        images: its images.
        mesh: the devices that share each batch.
        start, stop: the steps.

    Yields:
        Arguments of a step made by `cut_in_step`: {"images": the images, "plan": `plan` of some
        steps, (steps, rows, 5), "first": the first of these steps}.

    Raises:
        ValueError: as `ResidentImages.plan`.
    """
    rows_here = sampler.batch_size // jax.process_count()
    first_row = jax.process_index() * rows_here
    rows = NamedSharding(mesh, SPECS["plan"])

    def draw(first: int) -> dict[str, Any]:
        steps = np.arange(first, min(first + CHUNK, stop))
        own = np.arange(first_row, first_row + rows_here)
        drawn = images.plan(sampler, np.repeat(steps, rows_here), np.tile(own, len(steps)))
        plan = np.zeros((CHUNK, rows_here, 5), np.uint32)
        plan[: len(steps)] = drawn.reshape(len(steps), rows_here, 5)
        return {
            "images": images.channels,
            "plan": jax.make_array_from_process_local_data(rows, plan),
            "first": _on_every_device(mesh, np.asarray(first, np.int32)),
        }

    with ThreadPoolExecutor(1) as thread:
        ahead = thread.submit(draw, start)
        for first in range(start, stop, CHUNK):
            chunk = ahead.result()
            if first + CHUNK < stop:
                ahead = thread.submit(draw, first + CHUNK)
            for _ in range(first, min(first + CHUNK, stop)):
                yield chunk


def cut_in_step(
    step: Callable[..., Any], patch_size: int, factor: int
) -> Callable[[Any, dict[str, Any], Any], Any]:
    """Puts the cutting of a batch in front of an update.

    Args:
        step: a function (state, {'lr', 'hr'}, loss) -> (state, metrics); `state.step` counts the
            updates done.
        patch_size: side of the input patch.
        factor: target pixels of an input pixel along a side.

    Returns:
        A function (state, what `batches` yields, loss) -> (state, metrics).
    """

    def cut_and_step(state: Any, data: dict[str, Any], loss: Any) -> Any:
        rows = jax.lax.dynamic_index_in_dim(
            data["plan"], state.step - data["first"], keepdims=False
        )
        flips = (rows[:, 4:] >> np.arange(3, dtype=np.uint32)) & 1 == 1
        batch = {
            "lr": _cut(data["images"]["lr"], rows[:, 0], rows[:, 1], flips, patch_size),
            "hr": _cut(data["images"]["hr"], rows[:, 2], rows[:, 3], flips, patch_size * factor),
        }
        # So that the step is compiled as it is for batches from the host.
        return step(state, jax.lax.optimization_barrier(batch), loss)

    return cut_and_step


def _cut(
    channels: Channels, starts: jax.Array, widths: jax.Array, flips: jax.Array, size: int
) -> jax.Array:
    """Patches (rows, size, size, C), float32, of images of these widths.

    `sr_jax.data.patches.symmetry` in the same order: rows are flipped by reading them from the
    last on, columns and axes once the patch is cut.
    """
    line = jnp.arange(size, dtype=jnp.uint32)
    lines = jnp.where(flips[:, :1], size - 1 - line, line)
    runs = starts[:, None] + lines * widths[:, None]
    one_run = jax.lax.GatherDimensionNumbers(
        offset_dims=(2,), collapsed_slice_dims=(), start_index_map=(0,)
    )
    patches = jnp.stack(
        [
            jax.lax.gather(
                channel,
                runs[..., None],
                one_run,
                (size,),
                mode=jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS,
            )
            for channel in channels
        ],
        axis=-1,
    )
    flip_columns, transpose = flips[:, 1, None, None, None], flips[:, 2, None, None, None]
    patches = jnp.where(flip_columns, patches[:, :, ::-1], patches)
    patches = jnp.where(transpose, patches.swapaxes(1, 2), patches)
    if patches.dtype != np.uint8:
        return patches
    return jnp.asarray(_TO_FLOAT).at[patches.astype(jnp.int32)].get(mode="promise_in_bounds")
