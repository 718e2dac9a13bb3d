"""Winograd's convolution: against the direct sum, in one block and in many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from sr_jax.models import winograd
from sr_jax.models.convolution import conv2d, textbook_convolutions


@pytest.mark.parametrize("padding", [(0, 0), (1, 2)])
@pytest.mark.parametrize(
    ("shape", "block"),
    [
        ((1, 10, 12, 3), 10**6),  # one block
        ((1, 11, 13, 3), 10**6),  # odd sides
        ((6, 6, 6, 3), 4 * 16 * 5),  # groups of images
        ((2, 23, 9, 3), 16 * 4 * 5 * 2),  # bands of rows
        ((1, 23, 9, 3), 1),  # a pair of rows each
    ],
)
def test_equals_the_direct_sum(monkeypatch, shape, block, padding):
    """float32, relative to the largest value: 2e-6, as the direct sum's own error."""
    monkeypatch.setattr(winograd, "_BLOCK", block)
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=shape), rng.normal(size=(3, 3, 3, 5))
    with jax.enable_x64(True):
        expected = np.asarray(
            lax.conv_general_dilated(
                x,
                kernel,
                (1, 1),
                [(p, p) for p in padding],
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )
        )
    convolve = lambda x, kernel: winograd.convolve(x, kernel, padding)  # noqa: E731, a trace of its own
    result = np.asarray(jax.jit(convolve)(jnp.float32(x), jnp.float32(kernel)))
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() < 2e-6 * np.abs(expected).max()


def test_blocks_are_as_large_as_the_cache_takes(monkeypatch):
    blocks = []
    plain = winograd._block
    monkeypatch.setattr(
        winograd, "_block", lambda weights, x: blocks.append(x.shape) or plain(weights, x)
    )
    kernel = jax.ShapeDtypeStruct((3, 3, 128, 128), jnp.float32)
    for n, side in ((1, 50), (32, 26), (1, 502), (3, 102)):
        x = jax.ShapeDtypeStruct((n, side, side, 128), jnp.float32)
        result = jax.eval_shape(winograd.convolve, x, kernel)
        assert result.shape == (n, side - 2, side - 2, 128)
    assert blocks == [(1, 50, 50, 128), (16, 26, 26, 128), (1, 20, 502, 128), (1, 52, 102, 128)]


@pytest.mark.parametrize(
    ("side", "kernel", "dtype", "used"),
    [
        (40, (3, 3, 128, 256), "float32", True),
        (20, (3, 3, 128, 256), "float32", False),  # too small
        (100, (3, 3, 128, 32), "float32", False),  # too few channels
        (200, (3, 3, 64, 64), "float32", False),  # for several blocks
        (40, (5, 5, 128, 128), "float32", False),
        (40, (3, 3, 128, 256), "bfloat16", False),
    ],
)
def test_where_it_is_used(side, kernel, dtype, used):
    """Then the direct convolution, of which the program would have one, is gone."""
    if jax.default_backend() != "cpu":
        pytest.skip("on a CPU only")
    x, kernel = jnp.zeros((1, side, side, kernel[2]), dtype), jnp.zeros(kernel)

    def program():
        return str(jax.make_jaxpr(lambda x, kernel: conv2d(x, kernel))(x, kernel))

    assert ("conv_general_dilated" not in program()) == used
    with textbook_convolutions():
        assert "conv_general_dilated" in program()
    assert ("conv_general_dilated" not in program()) == used
