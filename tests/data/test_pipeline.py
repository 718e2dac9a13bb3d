"""Batches of tf.data: global arrays in order, errors in one piece."""

import jax
import numpy as np
import pytest

from sr_jax.data.patches import PatchSampler
from sr_jax.data.pipeline import batches
from sr_jax.data.sources import ImagePair
from sr_jax.mesh import make_mesh


@pytest.fixture
def sampler():
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (24, 24 + i, 3), np.uint8) for i in range(5)]
    images = [ImagePair(f"{i}", (2,), lambda photo=photo: photo) for i, photo in enumerate(photos)]
    return PatchSampler(images, (2,), 7, 6, seed=3)


def test_batches_are_global_arrays_in_order(sampler):
    mesh = make_mesh(6)
    received = list(batches(sampler, mesh, 3, 6))
    assert len(received) == 3
    for step, batch in zip(range(3, 6), received, strict=True):
        assert isinstance(batch["lr"], jax.Array)
        inputs, targets = sampler.rows(step, 0, 6)
        np.testing.assert_array_equal(batch["lr"], inputs)
        np.testing.assert_array_equal(batch["hr"], targets)


def test_error_of_an_image_reaches_the_loop_in_one_piece():
    def broken() -> np.ndarray:
        raise ValueError("cannot read image a.png: truncated")

    sampler = PatchSampler([ImagePair("a", (2,), broken)], (2,), 7, 1, seed=0)
    with pytest.raises(ValueError, match=r"^none of the .*: cannot read image a.png: truncated$"):
        list(batches(sampler, make_mesh(1), 0, 2))
