"""Winograd's convolution and its weight gradient: against the direct sums, whole and in blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sr_jax.ops import direct
from sr_jax.ops.conv import conv2d
from sr_jax.ops.cpu import winograd
from sr_jax.ops.target import Target, compiler_options, traced_for

SHAPES = [
    (1, 8, 12, 3),
    (2, 11, 13, 3),  # rows that are not a multiple of four
    (6, 7, 6, 3),  # groups of two images where blocks are small
    (1, 39, 6, 3),  # bands of rows, the last of which overlaps
]


@pytest.fixture(params=["whole", "blocks"])
def blocks(request, monkeypatch):
    if request.param == "blocks":
        monkeypatch.setattr(winograd, "_MOST_VALUES", 39 * 6 * 5)
        monkeypatch.setattr(winograd, "_BLOCK_PIXELS", 2 * 8 * 8)
        monkeypatch.setattr(winograd, "_GRADIENT_PIXELS", 2 * 8 * 8)
    return request.param == "blocks"


def _relative_error(function, exact, operands):
    """Of `function` in float32 to `exact` in float64: of the largest value."""
    with jax.enable_x64(True):
        expected = np.asarray(exact(*operands))
    result = np.asarray(jax.jit(function)(*(jnp.float32(each) for each in operands)))
    assert result.shape == expected.shape
    return np.abs(result - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (1, 2)])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_direct_sum(blocks, shape, padding):
    """float32: 2e-6; a direct sum of this length has 1e-6, and Winograd's transforms double it."""
    rng = np.random.default_rng(0)
    operands = rng.normal(size=shape), rng.normal(size=(3, 3, 3, 5))
    error = _relative_error(
        lambda x, kernel: winograd.convolve(x, kernel, padding),
        lambda x, kernel: direct.convolve(x, kernel, padding),
        operands,
    )
    assert error < 2e-6


@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (1, 2)])
@pytest.mark.parametrize("shape", SHAPES)
def test_weight_gradient_equals_the_direct_sum(blocks, shape, padding):
    """float32: 2e-6, as above."""
    rng = np.random.default_rng(0)
    n, height, width, _ = shape
    cotangent = (n, height + 2 * padding[0] - 2, width + 2 * padding[1] - 2, 5)
    operands = rng.normal(size=shape), rng.normal(size=cotangent)
    error = _relative_error(
        lambda x, y: winograd.weight_gradient(x, y, padding),
        lambda x, y: direct.weight_gradient(x, y, padding),
        operands,
    )
    assert error < 2e-6


def _shapes_of(monkeypatch, name, function, *shapes):
    """The first operand's shape in the calls of winograd's `name` that `function` makes."""
    calls = []
    plain = getattr(winograd, name)
    monkeypatch.setattr(winograd, name, lambda x, *rest: calls.append(x.shape) or plain(x, *rest))
    jax.eval_shape(function, *(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
    return calls


@pytest.mark.parametrize(
    ("shape", "block"),
    [
        ((1, 48, 48, 256), (1, 48, 48, 256)),
        ((16, 48, 48, 64), (16, 48, 48, 64)),  # just within the caches
        ((64, 41, 41, 64), (4, 43, 41, 64)),  # padded
        ((1, 256, 256, 64), (1, 34, 256, 64)),
        ((3, 200, 200, 64), (1, 42, 200, 64)),
    ],
)
def test_blocks_are_as_large_as_the_caches_take(monkeypatch, shape, block):
    convolve = lambda *operands: winograd.convolve(*operands, (1, 1))  # noqa: E731, a new trace
    kernel = (3, 3, shape[3], shape[3])
    assert _shapes_of(monkeypatch, "_convolve", convolve, shape, kernel) == [block]


@pytest.mark.parametrize(
    ("shape", "block"),
    [
        ((1, 96, 96, 64), (1, 96, 96, 64)),
        ((16, 48, 48, 64), (2, 48, 48, 64)),
        ((1, 256, 256, 64), None),  # the direct sum
    ],
)
def test_blocks_of_the_weight_gradient(monkeypatch, shape, block):
    correlate = lambda *operands: winograd.weight_gradient(*operands, (1, 1))  # noqa: E731, a new trace
    calls = _shapes_of(monkeypatch, "_weight_gradient", correlate, shape, shape)
    assert calls == ([block] if block else [])


@pytest.mark.parametrize(
    ("side", "kernel", "dtype", "used"),
    [
        (40, (3, 3, 64, 128), "float32", True),
        (20, (3, 3, 64, 128), "float32", False),  # too small
        (40, (3, 3, 64, 32), "float32", False),  # too few channels
        (40, (5, 5, 64, 64), "float32", False),
        (40, (3, 3, 64, 64), "bfloat16", False),
    ],
)
def test_where_it_is_used(side, kernel, dtype, used):
    """In the forward pass and for both gradients, each of which has six convolutions then."""
    if jax.default_backend() != "cpu":
        pytest.skip("on a CPU only")
    x, kernel = jnp.zeros((1, side, side, kernel[2]), dtype), jnp.zeros(kernel)

    def count():
        program = jax.make_jaxpr(
            lambda x, kernel: jax.vjp(conv2d, x, kernel)[1](conv2d(x, kernel))
        )(x, kernel)
        return str(program).count("conv_general_dilated[")

    assert count() == (4 * 6 if used else 4)
    with traced_for(Target("any")):
        assert count() == 4
    assert count() == (4 * 6 if used else 4)


def test_layers_in_blocks_share_memory():
    """Each of these arrays is 16.8 MB: twice as many layers must not take twice as many."""

    def stack(layers: int) -> int:
        def run(x, kernels):
            for kernel in kernels:
                x = jnp.maximum(winograd.convolve(x, kernel, (1, 1)), 0)
            return x

        image = jax.ShapeDtypeStruct((1, 256, 256, 64), jnp.float32)
        kernels = [jax.ShapeDtypeStruct((3, 3, 64, 64), jnp.float32)] * layers
        options = compiler_options()
        program = jax.jit(run, compiler_options=options).lower(image, kernels).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert stack(6) < 1.1 * stack(3)
