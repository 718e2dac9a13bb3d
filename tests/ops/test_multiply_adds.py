"""Multiply-adds: against sums by hand, and against programs whose count is plain."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from sr_jax.models import create_model, multiply_adds
from sr_jax.ops.conv import conv2d
from sr_jax.ops.multiply_adds import count_multiply_adds
from sr_jax.ops.target import Target, traced_for


def counted(function, *shapes):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    with traced_for(Target("any")):
        return count_multiply_adds(jax.make_jaxpr(function)(*arguments).jaxpr)


def test_products_and_convolutions():
    assert counted(jnp.matmul, (3, 5), (5, 7)) == 3 * 5 * 7
    assert counted(jnp.matmul, (2, 3, 5), (2, 5, 7)) == 2 * 3 * 5 * 7  # a batch of products
    # Stride 2, groups: 4 x 5 outputs, each of 3 x 3 taps on 2 of 6 channels, for 9 features.
    convolve = lambda x, k: lax.conv_general_dilated(  # noqa: E731
        x,
        k,
        (2, 2),
        ((1, 1), (1, 1)),
        feature_group_count=3,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    assert counted(convolve, (1, 8, 10, 6), (3, 3, 2, 9)) == 4 * 5 * 9 * 2 * 9
    assert counted(jnp.add, (3, 5), (3, 5)) == 0


def test_what_is_nested_counts_as_often_as_it_runs():
    product = 4 * 4 * 4
    square = lambda x: x @ x  # noqa: E731
    shape = (4, 4)
    assert counted(jax.jit(square), shape) == product
    assert counted(jax.checkpoint(square), shape) == product
    assert counted(lambda x: lax.scan(lambda c, _: (c @ c, c), x, None, length=7), shape) == (
        7 * product
    )
    assert counted(lambda x: lax.map(square, x), (3, 4, 4)) == 3 * product
    branches = lambda x: lax.cond(x.sum() > 0, lambda x: x @ x @ x, square, x)  # noqa: E731
    assert counted(branches, shape) == 2 * product
    with pytest.raises(ValueError, match="unknown length"):
        counted(lambda x: lax.while_loop(lambda x: x.sum() < 9, square, x), shape)
    # The gradient of the shared convolution is written by hand: forward and two more.
    taps = 6 * 6 * 9 * 2 * 5
    assert counted(conv2d, (1, 6, 6, 2), (3, 3, 2, 5)) == taps
    both = jax.grad(lambda x, k: conv2d(x, k).sum(), argnums=(0, 1))
    assert counted(both, (1, 6, 6, 2), (3, 3, 2, 5)) > 2 * taps


def test_srcnn_by_hand():
    weights = 9 * 9 * 64 + 64 * 32 + 5 * 5 * 32
    assert multiply_adds(create_model("srcnn_915"), 30, 40) == 30 * 40 * weights


@pytest.mark.parametrize(("scale", "upsampler"), [(2, 4), (3, 9), (4, 4 + 4 * 4)])
def test_edsr_by_hand(scale, upsampler):
    """Head, 2 B + 1 convolutions, one for every stage of the upsampler, tail, two mean shifts."""
    feats, blocks, pixels = 16, 3, 20 * 24
    expected = pixels * (9 * 3 * feats + 9 * feats**2 * (2 * blocks + 1 + upsampler) + 9)
    expected += pixels * scale**2 * (9 * feats * 3 + 9)
    model = create_model("edsr", scale=scale, n_feats=feats, n_resblocks=blocks)
    assert multiply_adds(model, 20, 24) == expected


def test_loops_count_as_what_they_replace():
    """Up to 20 blocks are written out, more are a loop; a block costs the same."""
    per_block = 2 * 9 * 8 * 8 * 12 * 12

    def total(blocks):
        model = create_model("edsr", n_feats=8, n_resblocks=blocks)
        return multiply_adds(model, 12, 12)

    assert total(20) - total(10) == 10 * per_block
    assert total(40) - total(20) == 20 * per_block


@pytest.mark.parametrize(
    ("name", "giga"),
    [("vdsr", 612.6), ("edsr_baseline", 316.3), ("edsr", 9385), ("mdsr_baseline", 410.6)],
)
def test_published_figures_at_1280x720(name, giga):
    """Tables of later papers (x2, the mean shift not counted), to the digits that they print."""
    shape = (720, 1280) if name == "vdsr" else (360, 640)
    counted = multiply_adds(create_model(name), *shape, scale=2)
    assert counted / 1e9 == pytest.approx(giga, rel=5e-4)


def test_csnln_does_without_the_redundancy_of_the_official_code():
    """The official code takes 199 G at 48 x 48, x2, about 1.6 times ours (nearly quadratic)."""
    model = create_model("csnln")
    small, large = multiply_adds(model, 48, 48), multiply_adds(model, 96, 96)
    assert 199e9 / 1.7 < small < 199e9 / 1.5
    assert 4 < large / small < 16


def test_mdsr_asks_for_a_scale():
    with pytest.raises(ValueError, match="say by which"):
        multiply_adds(create_model("mdsr"), 24, 24)
