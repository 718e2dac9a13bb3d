"""Many streams at once are NumPy's own, one by one."""

import numpy as np
import pytest

from sr_jax.data.streams import Streams


@pytest.mark.parametrize("seed", [(0,), (7, 2), (2**70 + 5, 2, 9), (1, 2, 3, 4, 5)])
def test_draws_are_those_of_default_rng(seed):
    """Small and large bounds in turns; bound 1 takes nothing from the stream."""
    last = np.arange(500) * 8_000_011
    streams = Streams((*seed, last))
    rng = np.random.default_rng(0)
    bounds = [np.full(500, 2), rng.integers(1, 4, 500), rng.integers(1, 3000, 500), np.full(500, 8)]
    found = np.stack([streams.integers(bound) for bound in bounds], axis=1)
    for index in range(500):
        generator = np.random.default_rng((*seed, int(last[index])))
        expected = [int(generator.integers(bound[index])) for bound in bounds]
        assert list(found[index]) == expected, index


def test_rejected_draws_are_drawn_again():
    """Bounds just over half of 2**32 reject every second draw."""
    streams = Streams((3, np.arange(100)))
    found = np.stack([streams.integers(2**31 + 1) for _ in range(5)], axis=1)
    for index in range(100):
        generator = np.random.default_rng((3, index))
        assert list(found[index]) == [int(generator.integers(2**31 + 1)) for _ in range(5)]


def test_several_draws_of_one_call_are_draws_one_by_one():
    """As the three flips of a patch are drawn."""
    streams = Streams((5, np.arange(50)))
    found = np.stack([streams.integers(2) for _ in range(3)], axis=1)
    expected = [np.random.default_rng((5, index)).integers(0, 2, size=3) for index in range(50)]
    np.testing.assert_array_equal(found, expected)
