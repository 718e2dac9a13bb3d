"""Blocked attention equals the dense formulae, forward and gradient, in memory that is bounded."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same_gradients

from sr_jax.ops import attention, shuffle


def dense_non_local(query, key, value):
    return jax.nn.softmax(jnp.einsum("npc,nkc->npk", query, key), axis=-1) @ value


def patches(x, size, stride, border):
    """(N, H, W, C) -> (N, h, w, size, size, C), `border` zeros on every side."""
    x = jnp.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    rows, columns = (
        stride * np.arange((side - size) // stride + 1)[:, None] + np.arange(size)
        for side in x.shape[1:3]
    )
    return x[:, rows[:, None, :, None], columns[None, :, None, :]]


def official_cross_scale(query, key, values, norm_floor, factor, softmax_scale=10.0):
    """As the fact sheet (section 9) has it: filters of key patches, pasted value patches."""
    n, height, width, _ = query.shape
    keys = patches(key, 3, 1, 1)
    norms = jnp.sqrt(jnp.sum(jnp.square(keys), axis=(3, 4, 5), keepdims=True))
    keys = keys / jnp.maximum(norms, norm_floor)
    scores = jnp.einsum("nhwijc,nklijc->nhwkl", patches(query, 3, 1, 1), keys) * softmax_scale
    weights = jax.nn.softmax(scores.reshape(*scores.shape[:3], -1)).reshape(scores.shape)
    pasted = jnp.einsum(
        "nhwkl,nklijc->nhwijc", weights, patches(values, 3 * factor, factor, factor)
    )
    # Every pasted patch is 3 x 3 cells of factor x factor pixels; its middle one stays in place.
    cells = pasted.reshape(n, height, width, 3, factor, 3, factor, -1)
    out = sum(
        jnp.pad(cells[:, :, :, i, :, j], ((0, 0), (i, 2 - i), (j, 2 - j), *[(0, 0)] * 3))
        for i in range(3)
        for j in range(3)
    )[:, 1:-1, 1:-1]
    return out.transpose(0, 1, 3, 2, 4, 5).reshape(n, height * factor, width * factor, -1)


@pytest.mark.parametrize(
    ("n", "queries", "keys", "max_scores"),
    [
        (1, 30, 11, 10**6),  # at once
        (2, 30, 11, 10**6),
        (1, 30, 11, 77),  # blocks of 6
        (2, 31, 11, 77),  # the last block is not full
        (5, 6, 4, 50),  # two images at a time, and one left over
        (1, 7, 40, 30),  # less than a query's scores: one query at a time
    ],
)
def test_non_local_equals_dense(n, queries, keys, max_scores):
    """float64: other orders of the same sums."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        shapes = ((n, queries, 3), (n, keys, 3), (n, keys, 5))
        operands = [rng.normal(size=shape) for shape in shapes]
        assert_same_gradients(
            lambda *x: attention.non_local_attention(*x, max_scores=max_scores),
            dense_non_local,
            *operands,
            tolerance=1e-10,
        )


@pytest.mark.parametrize(
    ("n", "height", "width", "factor", "tile", "max_scores"),
    [
        (1, 6, 4, 2, 16, 10**6),  # one tile
        (1, 6, 10, 2, 4, 10**6),  # tiles of 3 x 4 and less, neither side a multiple of it
        (2, 3, 6, 3, 4, 10**6),
        (3, 4, 6, 2, 3, 1),  # one image at a time
        (3, 4, 4, 2, 4, 2 * 8 * 8 * 6 * 4),  # two images at a time
        (1, 2, 2, 2, 16, 10**6),  # a single key
    ],
)
def test_cross_scale_equals_the_official_form(n, height, width, factor, tile, max_scores):
    """float64: other orders of the same sums."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        operands = [
            rng.normal(size=(n, height, width, 3)),
            rng.normal(size=(n, height // factor, width // factor, 3)),
            rng.normal(size=(n, height, width, 2)),
        ]

        def ours(query, key, values):
            cells = shuffle.space_to_cells(values, factor)
            y = attention.cross_scale_attention(
                query, key, cells, jnp.asarray(0.1), tile=tile, max_scores=max_scores
            )
            return shuffle.cells_to_space(y, factor)

        official = functools.partial(official_cross_scale, norm_floor=0.1, factor=factor)
        assert_same_gradients(ours, official, *operands, tolerance=1e-10)


def test_float32_agrees_to_1e_5():
    rng = np.random.default_rng(0)
    query, key, value = (rng.normal(size=(1, 144, c)).astype(np.float32) for c in (16, 16, 8))
    expected = dense_non_local(query, key, value)
    blocked = jax.jit(attention.non_local_attention, static_argnames="max_scores")(
        query, key, value, max_scores=144 * 10
    )
    np.testing.assert_allclose(blocked, expected, atol=1e-5 * np.abs(expected).max())
    maps = [a.reshape(1, 12, 12, -1) for a in (query, key, value)]
    one, tiled = (
        jax.jit(functools.partial(attention.cross_scale_attention, tile=tile))(*maps, 1e-4)
        for tile in (12, 5)
    )
    np.testing.assert_allclose(tiled, one, atol=1e-5 * np.abs(one).max())


def test_zero_keys_give_the_mean_of_the_values_and_a_finite_gradient():
    query, value = jnp.ones((1, 4, 4, 3)), jnp.arange(8.0).reshape(1, 2, 2, 2)

    def total(key):
        return attention.cross_scale_attention(query, key, value, jnp.asarray(1e-4))

    # All weights are 1/4. From (1, 1) there are 4 keys in each of 9 directions, less those that
    # the border of the keys cuts off: (2 + 1 + 1)**2 / 4 values a sum.
    y, pullback = jax.vjp(jax.jit(total), jnp.zeros((1, 2, 2, 3)))
    np.testing.assert_allclose(y[0, 1, 1], value.mean((0, 1, 2)) * 4, rtol=1e-5)
    assert np.isfinite(pullback(jnp.ones_like(y))[0]).all()


def test_memory_is_bounded_forward_and_backward():
    """Dense, one matrix of scores has 4096**2 (4096 * 1024) values: 64 MiB (16 MiB)."""
    shapes = [(1, 4096, 8)] * 3
    operands = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]

    def peak(function):
        return jax.jit(function).lower(*operands).compile().memory_analysis().temp_size_in_bytes

    def gradient(function):
        return jax.grad(lambda *x: function(*x).sum(), argnums=(0, 1, 2))

    def non_local(query, key, value):
        return attention.non_local_attention(query, key, value, max_scores=2**18)

    def cross_scale(query, key, value):
        query, key, value = (x.reshape(1, 64, 64, 8) for x in (query, key, value))
        return attention.cross_scale_attention(
            query, key[:, ::2, ::2], value[:, ::2, ::2], jnp.asarray(1e-4), tile=4
        )

    assert peak(gradient(dense_non_local)) > 2**26
    assert peak(non_local) < 2**23
    assert peak(gradient(non_local)) < 2**23
    assert peak(cross_scale) < 2**22
    assert peak(gradient(cross_scale)) < 2**22
