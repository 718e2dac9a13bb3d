"""MATLAB is the oracle: 8-bit images equal pixel for pixel, doubles to rounding."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io

from sr_jax.imaging.color import rgb_to_luma, rgb_to_ycbcr
from sr_jax.imaging.files import read_image, to_rgb
from sr_jax.imaging.resize import imresize, imresize_jax, resize_matrix

Shared = Callable[[str], Path]

GOLDENS = Path(__file__).parents[1] / "goldens"
MATLAB_SMALL = np.load(GOLDENS / "matlab_imresize_small.npz")
MATLAB_CASES = sorted({key.split(":")[0] for key in MATLAB_SMALL})

# Float64 sums of a few products of values up to 255: rounding of 1e-15 relative to 255, and MATLAB
# adds in an order of its own. 1e-12 absolute leaves a factor of two above what was seen (5e-13).
MATLAB_ATOL = 1e-12


def modcrop(image: np.ndarray, scale: int) -> np.ndarray:
    height, width = (side - side % scale for side in image.shape[:2])
    return image[:height, :width]


def noise(*shape: int, dtype: type = np.float64) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(dtype)


def test_matlab_small_is_all_there() -> None:
    assert len(MATLAB_CASES) == 14


@pytest.mark.parametrize("case", MATLAB_CASES)
def test_matlab_doubles(case: str) -> None:
    expected = MATLAB_SMALL[f"{case}:out"]
    resized = imresize(
        MATLAB_SMALL[f"{case}:in"],
        size=expected.shape,
        antialias=bool(MATLAB_SMALL[f"{case}:aa"]),
    )
    assert resized.dtype == np.float64
    np.testing.assert_allclose(resized, expected, rtol=0, atol=MATLAB_ATOL)


@pytest.mark.parametrize("case", MATLAB_CASES)
def test_matlab_doubles_jax(case: str) -> None:
    expected = MATLAB_SMALL[f"{case}:out"]
    with jax.enable_x64(True):
        resized = imresize_jax(
            jnp.asarray(MATLAB_SMALL[f"{case}:in"])[..., None],
            expected.shape,
            antialias=bool(MATLAB_SMALL[f"{case}:aa"]),
        )
        assert resized.dtype == jnp.float64
    np.testing.assert_allclose(np.asarray(resized)[..., 0], expected, rtol=0, atol=MATLAB_ATOL)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("border", ["symmetric", "replicate"])
@pytest.mark.parametrize(("dataset", "count"), [("Set5", 5), ("Set14", 14)])
def test_matlab_8_bit_images(
    shared: Shared, dataset: str, count: int, border: str, scale: int
) -> None:
    """Every low-resolution image that MATLAB made, without one differing pixel."""
    folder = {"symmetric": "LR_bicubic", "replicate": "LR_bicubic_replicate"}[border]
    paths = sorted(shared(f"data/benchmarks/{dataset}/{folder}/X{scale}").iterdir())
    assert len(paths) == count
    for path in paths:
        expected = read_image(path)
        original = shared(f"data/benchmarks/{dataset}/HR/{path.stem.removesuffix(f'x{scale}')}.png")
        reference = read_image(original)
        if expected.ndim == 3:
            reference = to_rgb(reference)  # The low-resolution "bridge" is stored as RGB.
        resized = imresize(modcrop(reference, scale), 1 / scale, border=border)
        np.testing.assert_array_equal(resized, expected, err_msg=str(path))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_matlab_doubles_of_butterfly(shared: Shared, scale: int) -> None:
    """Luma down and up again in double, as the VDSR test data was made; values are 0..255."""
    path = shared(f"data/benchmarks/Set5/matlab_float64/butterfly_GT_x{scale}.mat")
    matlab = scipy.io.loadmat(path)
    # The script cropped the same variable to multiples of 2, then 3, then 4.
    image = read_image(shared("data/benchmarks/Set5/HR/butterfly.png"))
    for divisor in range(2, scale + 1):
        image = modcrop(image, divisor)
    np.testing.assert_array_equal(image, matlab["im_gt"])

    rgb = image / 255.0
    close = {"rtol": 0, "atol": MATLAB_ATOL}
    np.testing.assert_allclose(rgb_to_luma(rgb)[..., 0] * 255, matlab["im_gt_y"], **close)
    np.testing.assert_allclose(
        rgb_to_ycbcr(imresize(rgb, 1 / scale)), matlab["im_l_ycbcr"], **close
    )
    np.testing.assert_allclose(imresize(matlab["im_gt_y"], 1 / scale), matlab["im_l_y"], **close)
    np.testing.assert_allclose(imresize(matlab["im_l_y"], scale), matlab["im_b_y"], **close)


SIZES = [
    pytest.param((12, 10), (6, 5), id="half"),
    pytest.param((12, 9), (4, 3), id="third"),
    pytest.param((7, 5), (28, 20), id="four times"),
    pytest.param((9, 8), (5, 13), id="height down, width up"),
    pytest.param((8, 9), (13, 5), id="height up, width down"),
    pytest.param((3, 2), (1, 1), id="kernel wider than the image"),
    pytest.param((1, 1), (4, 3), id="one pixel"),
    pytest.param((6, 7), (6, 7), id="same size"),
]


@pytest.mark.parametrize(("in_size", "out_size"), SIZES)
@pytest.mark.parametrize("border", ["symmetric", "replicate"])
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        (np.float32, 1e-5),  # float32 sums (2^-24 relative) against float64 ones
        (np.float64, 1e-12),
    ],
)
def test_jax_equals_numpy(
    in_size: tuple[int, int],
    out_size: tuple[int, int],
    border: str,
    antialias: bool,
    dtype: type,
    tolerance: float,
) -> None:
    images = noise(2, *in_size, 3, dtype=dtype)
    expected = np.stack(
        [imresize(image, size=out_size, antialias=antialias, border=border) for image in images]
    )
    with jax.enable_x64(dtype is np.float64):
        resized = imresize_jax(jnp.asarray(images), out_size, antialias=antialias, border=border)
        assert resized.dtype == dtype
    np.testing.assert_allclose(np.asarray(resized), expected, rtol=tolerance, atol=tolerance)


def test_jax_scale_that_does_not_divide() -> None:
    """With the scale, not only the size, the two agree where ceil rounded the size up."""
    image = noise(11, 7, 3, dtype=np.float32)
    expected = imresize(image, 1 / 2)
    assert expected.shape == (6, 4, 3)
    np.testing.assert_allclose(
        imresize_jax(jnp.asarray(image), (6, 4), scale=1 / 2), expected, rtol=1e-5, atol=1e-5
    )
    assert np.abs(imresize(image, size=(6, 4)) - expected).max() > 1e-3


def test_jax_transformations() -> None:
    images = jnp.asarray(noise(2, 8, 6, 3, dtype=np.float32))

    def half(x: jax.Array) -> jax.Array:
        return imresize_jax(x, (4, 3))

    # One float32 rounding of fused or reordered sums.
    expected = np.asarray(half(images))
    np.testing.assert_allclose(jax.jit(half)(images), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(half)(images), expected, rtol=1e-6, atol=1e-6)
    # The map is linear: its gradient is the transposed matrices applied to ones.
    gradient = jax.grad(lambda x: half(x).sum())(images)
    column_sums = resize_matrix(8, 4).sum(axis=0)[:, None] * resize_matrix(6, 3).sum(axis=0)
    np.testing.assert_allclose(
        gradient, np.broadcast_to(column_sums[None, ..., None], images.shape), rtol=1e-5
    )


def test_jax_half_precision_sums_in_float32() -> None:
    images = jnp.asarray(noise(1, 16, 16, 3), jnp.bfloat16)
    resized = imresize_jax(images, (4, 4))
    assert resized.dtype == jnp.bfloat16
    expected = imresize_jax(images.astype(jnp.float32), (4, 4)).astype(jnp.bfloat16)
    np.testing.assert_array_equal(np.asarray(resized), np.asarray(expected))


@pytest.mark.parametrize(("in_size", "out_size"), [(9, 3), (10, 4), (3, 12), (2, 1)])
@pytest.mark.parametrize("border", ["symmetric", "replicate"])
def test_matrix_is_imresize(in_size: int, out_size: int, border: str) -> None:
    """Float64; sums of at most a few dozen products in another order."""
    matrix = resize_matrix(in_size, out_size, border=border)
    assert matrix.shape == (out_size, in_size)
    assert matrix.dtype == np.float64
    assert not matrix.flags.writeable
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=0, atol=1e-14)
    image = noise(in_size, 4)
    np.testing.assert_allclose(
        matrix @ image,
        imresize(image, size=(out_size, 4), border=border),
        rtol=0,
        atol=1e-13,
    )


@pytest.mark.parametrize(("scales", "first"), [((0.5, 2), 0), ((2, 0.5), 1), ((0.7, 0.7), 0)])
def test_smaller_ratio_first(scales: tuple[float, float], first: int) -> None:
    """Only the rounding in between shows the order, and with it on noise any other one fails."""
    image = (noise(20, 20) * 256).astype(np.uint8)
    alone = [(scales[0], 1), (1, scales[1])]
    in_order = imresize(imresize(image, alone[first]), alone[1 - first])
    swapped = imresize(imresize(image, alone[1 - first]), alone[first])
    assert (in_order != swapped).any()
    np.testing.assert_array_equal(imresize(image, scales), in_order)


def test_borders_differ_only_at_the_border() -> None:
    image = noise(24, 24)
    difference = imresize(image, 1 / 2) != imresize(image, 1 / 2, border="replicate")
    assert difference.any()
    assert not difference[2:-2, 2:-2].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_are_rounded_and_clipped_after_each_pass(dtype: type) -> None:
    top = np.iinfo(dtype).max
    image = np.random.default_rng(1).integers(0, 2, (18, 14, 3)).astype(dtype) * dtype(top)
    for scale, antialias in ((1 / 2, True), (2, True), (0.7, False)):
        rows = resize_matrix(18, int(np.ceil(18 * scale)), scale, antialias=antialias)
        columns = resize_matrix(14, int(np.ceil(14 * scale)), scale, antialias=antialias)
        first = np.clip(np.floor(np.einsum("oh,hwc->owc", rows, image) + 0.5), 0, top)
        second = np.clip(np.floor(np.einsum("ow,hwc->hoc", columns, first) + 0.5), 0, top)
        resized = imresize(image, scale, antialias=antialias)
        assert resized.dtype == dtype
        np.testing.assert_array_equal(resized, second)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_shape_dtype_and_input_are_kept(dtype: type) -> None:
    image = (noise(9, 7, 3) * 200).astype(dtype)
    before = image.copy()
    grey = imresize(image[..., 0], 3)
    resized = imresize(image, 3)
    assert (resized.shape, resized.dtype) == ((27, 21, 3), dtype)
    assert resized.flags.c_contiguous
    assert (grey.shape, grey.dtype) == ((27, 21), dtype)
    np.testing.assert_array_equal(grey, resized[..., 0])
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(imresize(image, 1.0), image)


def test_pair_of_scales() -> None:
    image = noise(10, 12)
    np.testing.assert_array_equal(imresize(image, (0.5, 2)), imresize(image, size=(5, 24)))


BAD_CALLS = [
    pytest.param({}, "exactly one of scale and size", id="neither"),
    pytest.param({"scale": 2, "size": (4, 4)}, "exactly one of scale and size", id="both"),
    pytest.param({"scale": 0}, "scale is 0", id="zero"),
    pytest.param({"scale": -1.0}, "scale is -1", id="negative"),
    pytest.param({"scale": float("nan")}, "scale is nan", id="nan"),
    pytest.param({"scale": (1, 2, 3)}, "expected a pair", id="three scales"),
    pytest.param({"size": 4}, "expected a pair", id="one size"),
    pytest.param({"size": (0, 4)}, "at least 1", id="empty output"),
    pytest.param({"size": (2.5, 4)}, "whole numbers", id="half a pixel"),
    pytest.param({"scale": 2, "border": "wrap"}, "symmetric, replicate", id="border"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_CALLS)
def test_bad_calls(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        imresize(noise(4, 4), **arguments)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros(4), "expected \\(H, W\\)"),
        (np.zeros((1, 4, 4, 3)), "expected \\(H, W\\)"),
        (np.zeros((4, 4), np.int32), "dtype int32"),
        (np.zeros((4, 4), bool), "dtype bool"),
        (np.zeros((0, 4)), "at least 1"),
    ],
)
def test_bad_images(image: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        imresize(image, 2)


def test_bad_jax_images() -> None:
    with pytest.raises(ValueError, match=r"expected \(\.\.\., H, W, C\)"):
        imresize_jax(jnp.zeros((4, 4)), (2, 2))
    with pytest.raises(ValueError, match="floating dtype"):
        imresize_jax(jnp.zeros((4, 4, 3), jnp.uint8), (2, 2))
