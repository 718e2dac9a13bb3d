"""Patches: reproducible, aligned, split over processes, bounded in memory."""

import numpy as np
import pytest

from sr_jax.data.patches import ImageCache, PatchSampler, symmetry
from sr_jax.data.sources import ImagePair, list_folder
from sr_jax.imaging.files import write_image


def nearest_pair(index: int, scales: tuple[int, ...] = (2,), side: int = 24) -> ImagePair:
    """HR is LR with every pixel repeated, so that alignment can be seen pixel by pixel."""
    rng = np.random.default_rng(index)
    lr = rng.integers(0, 256, (side, side + index, 3), dtype=np.uint8)
    factor = max(scales)
    hr = lr.repeat(factor, axis=0).repeat(factor, axis=1)
    return ImagePair(f"image{index}", scales, lambda: hr, {factor: lambda: lr})


@pytest.fixture
def sampler():
    return PatchSampler([nearest_pair(i) for i in range(5)], (2,), 7, 6, seed=3)


def test_batch_is_a_function_of_seed_and_step(sampler):
    sampler.rows(0, 0, 6)
    again = PatchSampler(sampler.images, (2,), 7, 6, seed=3)
    for a, b in zip(sampler.rows(9, 0, 6), again.rows(9, 0, 6), strict=True):
        np.testing.assert_array_equal(a, b)
    other = PatchSampler(sampler.images, (2,), 7, 6, seed=4)
    assert not np.array_equal(sampler.rows(9, 0, 6)[0], other.rows(9, 0, 6)[0])
    assert not np.array_equal(sampler.rows(9, 0, 6)[0], sampler.rows(10, 0, 6)[0])


def test_draws_are_those_of_earlier_versions():
    """So that a training goes on with the batches it was begun with."""
    images = [nearest_pair(i) for i in range(5)]
    sampler = PatchSampler(images, (2, 3), 7, 6, seed=3, interpolated=True)

    def sizes_of(images: np.ndarray, scales: np.ndarray) -> np.ndarray:
        return np.stack([40 + images, 60 - images * scales], axis=1)

    drawn = sampler.draw(np.array([0, 9, 10**6]), np.array([0, 5, 2]), sizes_of)
    assert drawn.image.tolist() == [4, 3, 1]
    assert drawn.scale.tolist() == [3, 3, 2]
    assert drawn.top.tolist() == [0, 21, 26]
    assert drawn.left.tolist() == [23, 8, 3]
    assert drawn.flips.tolist() == [[1, 0, 1], [0, 1, 1], [1, 1, 0]]


def test_processes_share_a_batch_by_rows(sampler):
    whole = sampler.rows(4, 0, 6)
    parts = [sampler.rows(4, start, start + 2) for start in (0, 2, 4)]
    for array, *split in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(array, np.concatenate(split))


def test_patches_are_aligned_and_in_range(sampler):
    inputs, targets = sampler.rows(0, 0, 6)
    assert inputs.shape == (6, 7, 7, 3)
    assert targets.shape == (6, 14, 14, 3)
    assert inputs.dtype == targets.dtype == np.float32
    assert 0 <= inputs.min() < 0.1 < 0.9 < inputs.max() <= 1
    for row in range(2):
        for column in range(2):
            np.testing.assert_array_equal(targets[:, row::2, column::2], inputs)


def test_every_epoch_visits_every_image_once():
    images = [
        ImagePair(f"{i}", (2,), lambda i=i: np.full((16, 16, 3), i, np.uint8)) for i in range(12)
    ]
    sampler = PatchSampler(images, (2,), 4, 6, seed=0)
    epochs = []
    for first in (0, 2, 4):
        targets = [sampler.rows(step, 0, 6)[1] for step in (first, first + 1)]
        seen = np.round(np.concatenate(targets)[:, 0, 0, 0] * 255).astype(int)
        assert sorted(seen) == list(range(12))
        epochs.append(tuple(seen))
    assert len(set(epochs)) == 3  # in another order each time


def test_all_eight_symmetries_and_all_corners_occur():
    lr = np.arange(9, dtype=np.uint8).reshape(3, 3, 1).repeat(3, axis=2)
    image = ImagePair("a", (2,), lambda: lr.repeat(2, axis=0).repeat(2, axis=1), {2: lambda: lr})
    sampler = PatchSampler([image], (2,), 2, 400, seed=0)
    inputs, _ = sampler.rows(0, 0, 400)
    patches = {tuple(np.round(patch[..., 0] * 255).astype(int).ravel()) for patch in inputs}
    assert len(patches) == 8 * 4


def test_symmetry_is_flip_flip_transpose():
    patch = np.arange(6).reshape(2, 3, 1)
    np.testing.assert_array_equal(symmetry(patch, (1, 0, 1)), patch[::-1].transpose(1, 0, 2))
    np.testing.assert_array_equal(symmetry(patch, (0, 1, 0)), patch[:, ::-1])


def test_one_scale_a_step_or_one_a_row():
    images = [
        ImagePair("a", (2, 3), lambda: np.random.default_rng(0).integers(0, 256, (48, 48, 3), "u1"))
    ]
    sampler = PatchSampler(images, (2, 3), 8, 16, seed=0)
    scales = [sampler.scale(step) for step in range(40)]
    assert set(scales) == {2, 3}
    for step in range(4):
        assert sampler.rows(step, 0, 2)[1].shape[1] == 8 * scales[step]
    # Interpolated: all of one size, both scales in a batch; x2 is closer to its target than x3.
    mixed = PatchSampler(images, (2, 3), 16, 64, seed=0, n_colors=1, interpolated=True)
    inputs, targets = mixed.rows(0, 0, 64)
    assert inputs.shape == targets.shape == (64, 16, 16, 1)
    keys = {key for key, _ in mixed.cache._entries.items()}
    assert keys == {(0, 2), (0, 3)}


def test_pairs_that_do_not_fit_are_refused_before_any_is_decoded(tmp_path):
    for name, side in {"HR/a.png": 24, "LR/a.png": 12, "HR/b.png": 24, "LR/b.png": 11}.items():
        write_image(tmp_path / name, np.zeros((side, side, 3), np.uint8))
    sampler = PatchSampler(list_folder(tmp_path), (2,), 8, 1, seed=0)
    with pytest.raises(ValueError, match=r"LR/b\.png is 11x11 .* 12x12: 1/2 of .*HR/b\.png"):
        sampler.without_small_images()
    (tmp_path / "LR/b.png").write_text("none")
    assert len(sampler.without_small_images().images) == 2  # told when it is read


def test_small_image_is_named():
    sampler = PatchSampler([nearest_pair(0, side=6)], (2,), 7, 1, seed=0)
    with pytest.raises(
        ValueError, match=r"image0 is 6x6 pixels .* smaller than data.lr_patch_size"
    ):
        sampler.rows(0, 0, 1)


def test_cache_is_bounded_and_drops_the_least_recent():
    cache = ImageCache(max_bytes=200)
    made = []

    def get(key: int) -> None:
        cache.get(key, lambda: made.append(key) or (np.zeros(80, np.uint8),))

    for key in (1, 2, 1, 3, 1, 2):
        get(key)
    assert made == [1, 2, 3, 2]
    assert len(cache._entries) == 2
