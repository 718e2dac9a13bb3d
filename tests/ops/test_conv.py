"""Convolutions and their gradients, in every form, against XLA's own differentiated by JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_same_gradients
from jax import lax

from sr_jax.models import create_model, variable_shapes
from sr_jax.ops.conv import (
    conv2d,
    halving_conv2d,
    shuffled_conv2d,
    strided_conv2d,
    transposed_conv2d,
)
from sr_jax.ops.shuffle import pixel_shuffle
from sr_jax.ops.target import compiler_options


def stock(x, kernel, borders="VALID", stride=1, **options):
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), borders, dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
    )


def normal(*shapes):
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape) for shape in shapes]


@pytest.mark.parametrize("size", [(3, 3), (9, 9), (5, 3)])
@pytest.mark.parametrize("padding", ["zeros", "valid", "replicate"])
def test_conv2d_equals_autodiff(size, padding):
    """float64; the same products summed in another order: 1e-12.

    To 1, 3 and 9 features, each of which has a form of its own on a CPU.
    """

    def plain(x, *kernels):
        borders = [(0, 0), *((k // 2, k // 2) for k in size), (0, 0)]
        if padding != "valid":
            x = jnp.pad(x, borders, mode="edge" if padding == "replicate" else "constant")
        return jnp.concatenate([stock(x, kernel) for kernel in kernels], -1)

    def ours(x, *kernels):
        return jnp.concatenate([conv2d(x, kernel, padding) for kernel in kernels], -1)

    with jax.enable_x64(True):
        operands = normal((2, 11, 13, 3), *((*size, 3, features) for features in (1, 3, 9)))
        assert_same_gradients(ours, plain, *operands, tolerance=1e-12)


def test_the_gradient_of_a_large_batch_is_the_sum_over_its_images():
    """float64; the same products summed in another order: 1e-12. On a CPU in two groups."""

    def plain(x, *kernels):
        return jnp.concatenate([stock(x, k, ((1, 1), (1, 1))) for k in kernels], -1)

    def ours(x, *kernels):
        return jnp.concatenate([conv2d(x, k) for k in kernels], -1)

    with jax.enable_x64(True):
        operands = normal((4, 60, 50, 3), (3, 3, 3, 2), (3, 3, 3, 9))
        assert_same_gradients(ours, plain, *operands, tolerance=1e-12)


@pytest.mark.parametrize("size", [(8, 6), (7, 8), (5, 9)])
def test_halving_convolution_equals_autodiff(size):
    """float64; the same products summed in another order: 1e-12."""
    with jax.enable_x64(True):
        assert_same_gradients(
            halving_conv2d,
            lambda x, kernel: stock(x, kernel, ((1, 1), (1, 1)), 2),
            *normal((2, *size, 3), (3, 3, 3, 4)),
            tolerance=1e-12,
        )


@pytest.mark.parametrize(("size", "stride", "padding"), [(6, 2, 2), (9, 3, 3), (8, 4, 2)])
def test_strided_and_transposed_convolutions_equal_autodiff(size, stride, padding):
    """float64; the same products summed in another order: 1e-10."""

    def transposed(x, kernel):  # fact sheet, section 0.5
        borders = [(size - 1 - padding, size - 1 - padding)] * 2
        return stock(x, kernel[::-1, ::-1], borders, lhs_dilation=(stride, stride))

    with jax.enable_x64(True):
        large, small, kernel = normal((2, 12, 24, 3), (2, 5, 4, 3), (size, size, 3, 5))
        assert_same_gradients(
            lambda x, k: strided_conv2d(x, k, stride, padding),
            lambda x, k: stock(x, k, [(padding, padding)] * 2, stride),
            large,
            kernel,
            tolerance=1e-10,
        )
        assert_same_gradients(
            lambda x, k: transposed_conv2d(x, k, stride, padding),
            transposed,
            small,
            kernel,
            tolerance=1e-10,
        )


def direct_sums(x, kernel, cotangent, padding):
    """(value, gradient by x, gradient by the kernel) of a 3x3 convolution, tap by tap."""
    height, width = cotangent.shape[1:3]
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    value, grad_x, grad_kernel = (np.zeros_like(a) for a in (cotangent, x, kernel))
    flat = cotangent.reshape(-1, cotangent.shape[-1])
    for i in range(3):
        for j in range(3):
            seen = slice(None), slice(i, i + height), slice(j, j + width)
            pixels = x[seen].reshape(-1, x.shape[-1])
            value += (pixels @ kernel[i, j]).reshape(value.shape)
            grad_x[seen] += (flat @ kernel[i, j].T).reshape(x[seen].shape)
            grad_kernel[i, j] = pixels.T @ flat
    inside = slice(padding, -padding or None)
    return value, grad_x[:, inside, inside], grad_kernel


@pytest.mark.parametrize(
    ("shape", "padding", "kernel_error"),
    [
        ((2, 26, 25, 64), 0, 2e-6),
        ((4, 41, 40, 64), 1, 2e-6),
        # More than a CPU's caches hold: they take images one or two at a time, or bands of rows.
        ((10, 63, 61, 64), 1, 2e-6),
        ((1, 154, 253, 64), 0, 1e-5),  # a direct sum, of 38 thousand pixels
    ],
)
def test_wide_layers_lose_no_precision(shape, padding, kernel_error):
    """float32, of the largest value: 2e-6, twice what a direct sum of 9 * 64 products has."""
    out = (shape[0], shape[1] + 2 * padding - 2, shape[2] + 2 * padding - 2, 64)
    operands = [a.astype(np.float32) for a in normal(shape, (3, 3, 64, 64), out)]

    @jax.jit
    def ours(x, kernel, cotangent):
        value, pullback = jax.vjp(lambda *x: conv2d(*x, "zeros" if padding else "valid"), x, kernel)
        return value, *pullback(cotangent)

    exact = direct_sums(*(a.astype(np.float64) for a in operands), padding)
    for actual, expected, error in zip(
        ours(*operands), exact, (2e-6, 2e-6, kernel_error), strict=True
    ):
        assert np.abs(actual - expected).max() < error * np.abs(expected).max()


def test_gradients_are_convolutions_in_the_order_of_memory():
    """Others run 60 to 110 times slower in the body of a loop on a CPU, which deep networks are."""
    if jax.default_backend() != "cpu":
        pytest.skip("on a CPU only")
    for channels in (3, 64):
        x, kernel = jnp.zeros((1, 40, 40, channels)), jnp.zeros((3, 3, channels, channels))
        gradient = jax.jit(jax.grad(lambda x, k: conv2d(x, k).sum(), argnums=(0, 1)))
        program = gradient.lower(x, kernel).as_text()
        assert "stablehlo.convolution" in program
        plain = "dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"
        assert program.count(plain) == program.count("dim_numbers = ")


@pytest.mark.parametrize(
    ("shape", "padding"),
    [
        ((2, 37, 41, 3), "zeros"),
        ((1, 40, 33, 1), "valid"),
        ((1, 208, 211, 1), "valid"),  # more than a CPU's caches hold
    ],
)
def test_a_large_first_kernel_loses_no_precision(shape, padding):
    """9x9 to 64 channels; float32, of the largest value: 2e-6, as other layers."""

    def plain(x, kernel):
        return stock(x, kernel, "SAME" if padding == "zeros" else "VALID")

    def ours(x, kernel):
        return conv2d(x, kernel, padding)

    operands = normal(shape, (9, 9, shape[-1], 64))
    with jax.enable_x64(True):
        expected = np.asarray(plain(*operands))
    single = [a.astype(np.float32) for a in operands]
    value = jax.jit(ours)(*single)
    np.testing.assert_allclose(value, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    for a, b in zip(*(pull_back(f, single) for f in (ours, plain)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())  # both in float32


@pytest.mark.parametrize(
    ("shape", "size", "padding"),
    [
        ((1, 154, 253, 64), (3, 3), "zeros"),
        ((1, 154, 253, 64), (3, 3), "valid"),
        ((10, 63, 61, 64), (3, 3), "zeros"),
        ((1, 3, 13_000, 64), (3, 3), "zeros"),  # fewer rows than a band and those around it
        ((1, 154, 253, 3), (3, 3), "zeros"),  # these four are not in Winograd's form
        ((3, 121, 140, 3), (3, 3), "valid"),
        ((1, 154, 253, 4), (5, 7), "zeros"),
        ((1, 154, 253, 4), (1, 3), "valid"),
    ],
)
def test_large_layers_are_finished_block_by_block(shape, size, padding):
    """float32, of the largest value: 2e-6, as other layers; 1e-5 for gradients, both in float32."""

    def finish(y, skip, bias):  # without a kink, at which rounding would decide on a gradient
        return skip + 10 * jax.nn.softplus(0.05 * (y + bias))

    def whole(x, kernel, *operands):
        return finish(stock(x, kernel, "SAME" if padding == "zeros" else "VALID"), *operands)

    def ours(x, kernel, *operands):
        return conv2d(x, kernel, padding, finish, *operands)

    high, wide = (side - 1 if padding == "valid" else 0 for side in size)
    out = (shape[0], shape[1] - high, shape[2] - wide, 64)
    operands = [a.astype(np.float32) for a in normal(shape, (*size, shape[-1], 64), out, 64)]
    values, expected = (jax.jit(f)(*operands) for f in (ours, whole))
    np.testing.assert_allclose(values, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    for a, b in zip(*(pull_back(f, operands) for f in (ours, whole)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize(
    ("shape", "factor", "tail"),
    [
        ((1, 101, 107, 64), 2, (3, 3, 64, 3)),
        ((3, 90, 81, 64), 3, (9, 5, 16, 1)),
        ((1, 30, 40, 64), 2, (3, 3, 64, 3)),  # small
        ((1, 101, 107, 64), 2, (3, 3, 64, 1)),  # fewer terms than are worth a product
    ],
)
def test_a_convolution_after_a_shuffle_needs_no_map_between(shape, factor, tail):
    """float32, of the largest value: 2e-6, as other layers; 1e-5 for gradients, both in float32."""

    def finish(y, bias):
        return 10 * jax.nn.softplus(0.05 * (y + bias))

    def whole(x, kernel, last, bias):
        y = pixel_shuffle(finish(stock(x, kernel, "SAME"), bias), factor)
        return stock(y, last, "SAME")

    def ours(x, kernel, last, bias):
        return shuffled_conv2d(x, kernel, last, factor, finish, bias)

    features = tail[2] * factor**2
    operands = normal(shape, (3, 3, shape[3], features), tail, features)
    operands = [a.astype(np.float32) for a in operands]
    values, expected = (jax.jit(f)(*operands) for f in (ours, whole))
    np.testing.assert_allclose(values, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    for a, b in zip(*(pull_back(f, operands) for f in (ours, whole)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


def test_blocks_have_the_dtype_that_finishing_gives():
    """As a result that is not in blocks: bfloat16 plus a float32 bias."""
    kernel, bias = jnp.zeros((3, 3, 4, 64)), jnp.ones(64)

    def dtype(height):
        x = jax.ShapeDtypeStruct((1, height, 253, 4), jnp.bfloat16)
        return jax.eval_shape(lambda x: conv2d(x, kernel, "zeros", jnp.add, bias), x).dtype

    assert dtype(154) == dtype(8) == jnp.float32


def pull_back(function, operands):
    """The gradients of the sum of the squares of a function's values."""
    loss = jax.jit(jax.grad(lambda x: (function(*x) ** 2).sum()))
    return loss(operands)


def test_layers_on_large_images_share_memory():
    """Each of these arrays is 16.8 MB: twice as many layers must not take twice as many."""

    def stack(layers: int) -> int:
        def run(x, kernels):
            for kernel in kernels:
                x = jnp.maximum(conv2d(x, kernel), 0)
            return x

        image = jax.ShapeDtypeStruct((1, 256, 256, 64), jnp.float32)
        kernels = [jax.ShapeDtypeStruct((3, 3, 64, 64), jnp.float32)] * layers
        options = compiler_options()
        program = jax.jit(run, compiler_options=options).lower(image, kernels).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert stack(6) < 1.1 * stack(3)


def test_a_network_on_a_large_image_keeps_two_maps():
    """What a layer reads and what it writes, at the ends too; half of one for blocks and terms."""
    if jax.default_backend() != "cpu":
        pytest.skip("on a CPU only")
    model = create_model("vdsr", depth=5)
    variables = variable_shapes(model)
    image = jax.ShapeDtypeStruct((1, 256, 320, 1), jnp.float32)
    options = compiler_options()
    program = jax.jit(model.apply, compiler_options=options).lower(variables, image).compile()
    assert program.memory_analysis().temp_size_in_bytes < 2.5 * 256 * 320 * 64 * 4


@pytest.mark.parametrize(("name", "maps"), [("edsr_baseline", 4), ("srresnet", 16)])
def test_an_upscaled_map_is_never_whole(name, maps):
    """In maps of the input's size. A convolution that is shuffled by 2 takes 8, the next one 32."""
    if jax.default_backend() != "cpu":
        pytest.skip("on a CPU only")
    model = create_model(name, n_resblocks=1)
    image = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    program = jax.jit(model.apply, compiler_options=compiler_options())
    program = program.lower(variable_shapes(model), image).compile()
    assert program.memory_analysis().temp_size_in_bytes < maps * 256 * 256 * 64 * 4


def test_refuses_unknown_padding():
    with pytest.raises(ValueError, match="padding is 'same'"):
        conv2d(jnp.zeros((1, 4, 4, 1)), jnp.zeros((3, 3, 1, 1)), "same")
