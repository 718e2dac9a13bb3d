"""BT.601 studio range: known colours, and the same numbers from NumPy and JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sr_jax.imaging.color import rgb_to_luma, rgb_to_ycbcr, ycbcr_to_rgb

# RGB in 0..1 and YCbCr in 0..255, from the rows of ITU-R BT.601's matrix.
COLOURS = [
    ((0, 0, 0), (16, 128, 128)),
    ((1, 1, 1), (235, 128, 128)),
    ((1, 0, 0), (81.481, 90.203, 240)),
    ((0, 1, 0), (144.553, 53.797, 34.214)),
    ((0, 0, 1), (40.966, 240, 109.786)),
    ((0.5, 0.5, 0.5), (125.5, 128, 128)),
]


@pytest.mark.parametrize(("rgb", "ycbcr"), COLOURS)
def test_known_colours(rgb: tuple[float, ...], ycbcr: tuple[float, ...]) -> None:
    pixel = np.array([rgb], np.float64)
    np.testing.assert_allclose(rgb_to_ycbcr(pixel)[0] * 255, ycbcr, atol=1e-12)
    np.testing.assert_allclose(rgb_to_luma(pixel)[0] * 255, ycbcr[:1], atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        (np.float32, 1e-6),  # a few roundings of 2^-24, enlarged by the inverse (up to 2)
        (np.float64, 1e-14),
    ],
)
@pytest.mark.parametrize("shape", [(3,), (5, 4, 3), (2, 5, 4, 3)])
def test_there_and_back(shape: tuple[int, ...], dtype: type, tolerance: float) -> None:
    rgb = np.random.default_rng(0).random(shape).astype(dtype)
    ycbcr = rgb_to_ycbcr(rgb)
    luma = rgb_to_luma(rgb)
    back = ycbcr_to_rgb(ycbcr)
    assert ycbcr.shape == back.shape == shape
    assert luma.shape == (*shape[:-1], 1)
    assert ycbcr.dtype == luma.dtype == back.dtype == dtype
    np.testing.assert_allclose(back, rgb, rtol=0, atol=tolerance)
    np.testing.assert_allclose(ycbcr[..., :1], luma, rtol=0, atol=tolerance)


@pytest.mark.parametrize("function", [rgb_to_luma, rgb_to_ycbcr, ycbcr_to_rgb])
def test_jax_arrays_stay_jax_arrays(function: object) -> None:
    """Float32 both: the compiler may fuse, which moves the last bit."""
    assert callable(function)
    rgb = np.random.default_rng(0).random((4, 4, 3)).astype(np.float32)
    for convert in (function, jax.jit(function), jax.vmap(function)):
        converted = convert(jnp.asarray(rgb))
        assert isinstance(converted, jax.Array)
        assert converted.dtype == jnp.float32
        np.testing.assert_allclose(converted, function(rgb), rtol=0, atol=1e-6)
    assert function(jnp.asarray(rgb, jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize("function", [rgb_to_luma, rgb_to_ycbcr, ycbcr_to_rgb])
def test_bad_input(function: object) -> None:
    assert callable(function)
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 3\)"):
        function(np.zeros((3, 4, 4)))
    with pytest.raises(ValueError, match="to_float"):
        function(np.zeros((4, 4, 3), np.uint8))
