"""The pipelines that ours is measured against do the same work."""

from typing import Any

import numpy as np
import pytest

from experiments.input_pipeline.measure import Work, check_equal_work, rates, work_of
from sr_jax.data.patches import PatchSampler, symmetry
from sr_jax.data.sources import ImagePair


def sampler_of(image: np.ndarray, **fields: Any) -> PatchSampler:
    pair = ImagePair("one", (2,), lambda: image, {})
    return PatchSampler([pair], (2,), patch_size=4, batch_size=3, seed=0, **fields)


def test_a_plain_batch_holds_aligned_patches_of_the_images() -> None:
    """Every input patch lies in the LR image under one of 8 symmetries, its target over it."""
    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    work = work_of(sampler_of(image))
    inputs, targets = work.batch(np.random.default_rng(1), 3)
    assert (inputs.shape, inputs.dtype) == ((3, 4, 4, 3), np.float32)
    assert targets.shape == (3, 8, 8, 3)
    ((low, high),) = work.pairs[0]
    for patch, target in zip(inputs, targets, strict=True):
        found = [
            (top, left, flips)
            for top in range(7)
            for left in range(9)
            for flips in np.ndindex(2, 2, 2)
            if np.array_equal(
                symmetry(low[top : top + 4, left : left + 4], flips) / np.float32(255), patch
            )
        ]
        assert len(found) == 1
        top, left, flips = found[0]
        over = high[2 * top : 2 * top + 8, 2 * left : 2 * left + 8]
        assert np.array_equal(symmetry(over, flips) / np.float32(255), target)


def test_torch_gets_the_same_batches_with_channels_first() -> None:
    pytest.importorskip("torch")
    from experiments.input_pipeline.loader import TorchBatches

    image = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    work = work_of(sampler_of(image, n_colors=1, interpolated=True))
    inputs, targets = next(iter(TorchBatches(work, 2)))
    expected = work.batch(np.random.default_rng(0), 2)
    assert np.array_equal(inputs.numpy().transpose(0, 2, 3, 1), expected[0])
    assert np.array_equal(targets.numpy().transpose(0, 2, 3, 1), expected[1])


def test_other_work_is_refused() -> None:
    image = np.full((20, 24, 3), 100, np.uint8)
    sampler = sampler_of(image)
    work = work_of(sampler)

    def deliver(work: Work, factor: float = 1.0) -> dict[str, Any]:
        inputs, targets = sampler.rows(0, 0, 3)
        plain = work.batch(np.random.default_rng(0), 3)
        torch = tuple(array.transpose(0, 3, 1, 2) for array in plain)
        return {
            "host": lambda: {"lr": inputs, "hr": targets},
            "device": lambda: {"lr": inputs, "hr": targets},
            "NumPy": lambda: tuple(array * np.float32(factor) for array in plain),
            "DataLoader": lambda: torch,
        }

    check_equal_work(sampler, deliver(work))
    with pytest.raises(ValueError, match="other range"):
        check_equal_work(sampler, deliver(work, 255.0))
    with pytest.raises(ValueError, match=r"NumPy delivers float32 \(3, 5, 5, 3\)"):
        check_equal_work(sampler, deliver(work._replace(size=5)))


def test_pipelines_are_measured_in_turns() -> None:
    order: list[str] = []
    deliver = {name: lambda name=name: order.append(name) for name in ("ours", "NumPy")}
    found = rates(deliver, batch_size=2, seconds=1e-4, rounds=2)
    turns = [name for i, name in enumerate(order) if i == 0 or order[i - 1] != name]
    assert turns == ["ours", "NumPy", "ours", "NumPy"]
    assert all(len(values) == 2 and min(values) > 0 for values in found.values())
