"""Pixel shuffle and cells: where every value goes."""

import jax.numpy as jnp
import numpy as np

from sr_jax.ops import shuffle


def test_pixel_shuffle_channel_order():
    x = np.arange(2 * 3 * 4 * 18).reshape(2, 3, 4, 18)
    y = shuffle.pixel_shuffle(jnp.asarray(x), 3)
    assert y.shape == (2, 9, 12, 2)
    for n, h, w, c, i, j in [(0, 0, 0, 0, 0, 0), (1, 2, 3, 1, 2, 1), (0, 1, 2, 1, 0, 2)]:
        assert y[n, 3 * h + i, 3 * w + j, c] == x[n, h, w, c * 9 + i * 3 + j]


def test_cells_are_inverse():
    x = np.arange(2 * 6 * 9 * 2).reshape(2, 6, 9, 2)
    cells = shuffle.space_to_cells(jnp.asarray(x), 3)
    assert cells.shape == (2, 2, 3, 18)
    assert cells[1, 1, 2, (2 * 3 + 1) * 2 + 1] == x[1, 1 * 3 + 2, 2 * 3 + 1, 1]
    np.testing.assert_array_equal(shuffle.cells_to_space(cells, 3), x)
