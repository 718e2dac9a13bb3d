"""How many patches a second the input pipelines deliver, beside plain NumPy and PyTorch.

    python -m experiments.input_pipeline.measure [--seconds=2] [--rounds=3]

All crop patches of the same decoded images, flip and transpose them, and stack float32 batches.
"host" and "device" are ours, by the names of `data.placement`. Both draw example i of batch k by a
seed of its own, so that training can resume; the others draw from one generator, in each worker.
"host" also moves the batches to the device. Of "device", which only draws on the host, the two
parts are measured by themselves too: "plans" in the calling thread, and "cutting" on the device.
"""

import importlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import typer
from jax.sharding import Mesh

from experiments import harness
from sr_jax.data import pipeline, resident
from sr_jax.data.patches import PatchSampler, network_pair, symmetry
from sr_jax.mesh import make_mesh
from sr_jax.recipe import read_config

RECIPES = ("edsr:x2,baseline,photos", "srcnn:x2,photos", "vdsr:photos")
COLUMNS = ("host", "device", "plans", "cutting", "NumPy", "DataLoader")
STEPS = 10**6  # more than any measurement takes
AHEAD = 10  # batches thrown away when a pipeline's turn begins: more than any prepares ahead
FAST_STEP = 2e-3  # seconds that an update may take on an accelerator

Batch = tuple[np.ndarray, np.ndarray]


class Work(NamedTuple):
    """What a plain pipeline does.

    Attributes:
        pairs: for every scale, the decoded (input, target) images.
        size: side of the input patch.
        factors: for every scale, target pixels of an input pixel along a side.
        one_scale: whether all patches of a batch are of one scale.
    """

    pairs: Sequence[Sequence[Batch]]
    size: int
    factors: Sequence[int]
    one_scale: bool

    def example(self, random: np.random.Generator, scale: int) -> Batch:
        """One patch of a random image, in a random one of the 8 symmetries."""
        pairs = self.pairs[scale]
        images = pairs[random.integers(len(pairs))]
        top, left = random.integers(0, np.array(images[0].shape[:2]) - self.size + 1)
        flips = random.integers(0, 2, size=3)
        patches = []
        for image, factor in zip(images, (1, self.factors[scale]), strict=True):
            rows = slice(top * factor, (top + self.size) * factor)
            columns = slice(left * factor, (left + self.size) * factor)
            patch = symmetry(image[rows, columns], flips).astype(np.float32)
            patches.append(patch / np.float32(255) if image.dtype == np.uint8 else patch)
        return patches[0], patches[1]

    def batch(self, random: np.random.Generator, size: int) -> Batch:
        """Examples, stacked."""
        scales = random.integers(len(self.pairs), size=size)
        if self.one_scale:
            scales[:] = scales[0]
        inputs, targets = zip(*(self.example(random, scale) for scale in scales), strict=True)
        return np.stack(inputs), np.stack(targets)


def work_of(sampler: PatchSampler) -> Work:
    """The work of our pipeline, for the others."""
    pairs = [
        [
            network_pair(image, scale, sampler.n_colors, sampler.interpolated)
            for image in sampler.images
        ]
        for scale in sampler.scales
    ]
    factors = [1 if sampler.interpolated else scale for scale in sampler.scales]
    return Work(pairs, sampler.patch_size, factors, not sampler.interpolated)


def plain_numpy(work: Work, batch_size: int) -> Iterator[Batch]:
    """A loop in the calling thread."""
    random = np.random.default_rng(0)
    while True:
        yield work.batch(random, batch_size)


def data_loader(work: Work, batch_size: int, workers: int) -> Iterator[Any]:
    """PyTorch's DataLoader with worker processes, each of which makes whole batches."""
    import torch

    from experiments.input_pipeline.loader import TorchBatches

    loader = torch.utils.data.DataLoader(
        TorchBatches(work, batch_size),
        batch_size=None,  # the data set's elements are batches
        num_workers=workers,
        multiprocessing_context="spawn",  # JAX has threads, which a fork would break
    )
    return iter(loader)


class Counted(NamedTuple):
    """What cutting needs of a training state."""

    step: jax.Array


def plans_of(sampler: PatchSampler, images: resident.ResidentImages) -> Iterator[np.ndarray]:
    """The plan of every step, drawn in chunks as in training."""
    rows = np.tile(np.arange(sampler.batch_size), resident.CHUNK)
    for first in itertools.count(0, resident.CHUNK):
        steps = np.repeat(np.arange(first, first + resident.CHUNK), sampler.batch_size)
        yield from images.plan(sampler, steps, rows).reshape(resident.CHUNK, -1, 5)


def device_cutting(sampler: PatchSampler, mesh: Mesh) -> dict[str, Callable[[], Any]]:
    """The batches of data placement "device", and its two parts."""
    images = resident.place(sampler, mesh, "device")
    assert images is not None  # as it was asked for
    factor = 1 if sampler.interpolated else sampler.scales[0]
    cut = jax.jit(
        resident.cut_in_step(lambda state, batch, loss: batch, sampler.patch_size, factor)
    )
    stream = enumerate(resident.batches(sampler, images, mesh, 0, STEPS))
    _, plan = next(stream)
    plans = plans_of(sampler, images)
    again = itertools.cycle(range(plan["plan"].shape[0]))

    def deliver() -> Any:
        step, data = next(stream)
        return jax.block_until_ready(cut(Counted(np.int32(step)), data, None))

    return {
        "device": deliver,
        "plans": lambda: next(plans),
        "cutting": lambda: jax.block_until_ready(cut(Counted(np.int32(next(again))), plan, None)),
    }


def contenders(recipe: str) -> tuple[PatchSampler, dict[str, Callable[[], Any]]]:
    """The sampler of a recipe, and what delivers its next batch in each pipeline."""
    name, _, arguments = recipe.partition(":")
    config = importlib.import_module(f"configs.{name}").get_config(arguments)
    sampler = read_config(config).sampler.without_small_images()
    size, workers = config.data.batch_size, config.data.threads
    work, mesh = work_of(sampler), make_mesh(size)
    host = pipeline.batches(sampler, mesh, 0, STEPS, threads=workers)
    numpy, torch = plain_numpy(work, size), data_loader(work, size, workers)
    return sampler, {
        "host": lambda: jax.block_until_ready(next(host)),
        **device_cutting(sampler, mesh),
        "NumPy": lambda: next(numpy),
        "DataLoader": lambda: next(torch),
    }


def check_equal_work(sampler: PatchSampler, deliver: dict[str, Callable[[], Any]]) -> None:
    """Raises ValueError if a pipeline delivers other shapes, or numbers of another range."""
    ours = deliver["host"]()
    for name in ("device", "NumPy", "DataLoader"):
        batch = deliver[name]()
        pair = (batch["lr"], batch["hr"]) if name == "device" else batch
        for mine, theirs in zip((ours["lr"], ours["hr"]), pair, strict=True):
            mine, theirs = np.asarray(mine), np.asarray(theirs)
            if name == "DataLoader":
                theirs = theirs.transpose(0, 2, 3, 1)
            one_scale = len(sampler.scales) == 1 or sampler.interpolated
            if (one_scale and mine.shape != theirs.shape) or mine.dtype != theirs.dtype:
                raise ValueError(f"{name} delivers {theirs.dtype} {theirs.shape}, not {mine.shape}")
            if abs(mine.mean() - theirs.mean()) > 0.2:
                raise ValueError(f"{name} delivers values of another range")


def rates(
    deliver: dict[str, Callable[[], Any]], batch_size: int, seconds: float, rounds: int
) -> dict[str, list[float]]:
    """Patches a second of every pipeline, in turns."""
    found: dict[str, list[float]] = {name: [] for name in deliver}
    for _ in range(rounds):
        for name, next_batch in deliver.items():
            for _ in range(AHEAD):
                next_batch()
            start, count = time.perf_counter(), 0
            while time.perf_counter() - start < seconds:
                next_batch()
                count += batch_size
            found[name].append(count / (time.perf_counter() - start))
    return found


def main(
    seconds: Annotated[float, typer.Option(help="Of each measurement.")] = 2.0,
    rounds: Annotated[int, typer.Option(help="Measurements of each pipeline.")] = 3,
) -> None:
    """Prints a table in Markdown: patches a second, median (min to max)."""
    lines = []
    for recipe in RECIPES:
        sampler, deliver = contenders(recipe)
        check_equal_work(sampler, deliver)
        found = rates(deliver, sampler.batch_size, seconds, rounds)
        cells = [
            "{median:.0f} ({min:.0f} to {max:.0f})".format(**harness.summary(found[name]))
            for name in COLUMNS
        ]
        need = sampler.batch_size / FAST_STEP
        lines.append([recipe, sampler.patch_size, *cells, f"{need:.0f}"])
    head = ["recipe", "patch", *COLUMNS, "2 ms steps need"]
    print("\n".join(harness.table(head, lines)))
    print(f"\n{harness.environment()}")


if __name__ == "__main__":
    typer.run(main)
