"""Tiles: their geometry, what they change, and how often a program is compiled."""

import dataclasses
import gc
import itertools

import jax
import numpy as np
import pytest

from sr_jax.inference import tiling
from sr_jax.inference.program import MOST_PROGRAMS, compiled
from sr_jax.inference.settings import Settings
from sr_jax.inference.upscaler import run_network

# Shallow networks of convolutions; tiles of 24 leave little between overlaps of 5 to 15.
LOCAL = [
    ("srcnn_915", {}, 2),
    ("vdsr", {"depth": 4, "n_feats": 8}, 3),
    ("srresnet", {"n_resblocks": 1, "n_feats": 8}, 4),
    ("edsr_baseline", {"scale": 3, "n_resblocks": 1, "n_feats": 8}, 3),
    ("mdsr", {"n_resblocks": 1, "n_feats": 8}, 2),
]
GLOBAL = [
    ("rcan", {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 2}),
    ("san", {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 2}),
    ("csnln", {"n_feats": 4, "depth": 1}),
]


def relative(a, b):
    return np.abs(np.float64(a) - b).max() / np.abs(b).max()


@pytest.mark.parametrize("divisor", [1, 2, 3])
def test_tiles_cover_the_side_and_share_enough(divisor):
    tile, overlap = 12, 2
    for length in range(divisor, 100, divisor):
        starts = tiling.tile_starts(length, tile, overlap, divisor)
        assert starts[0] == 0
        assert starts[-1] == max(0, length - tile)
        assert all(start % divisor == 0 for start in starts)
        steps = np.diff(starts)
        assert all(steps > 0)
        assert all(steps <= tile - 2 * overlap)
        # As few as can be.
        stride = (tile - 2 * overlap) // divisor * divisor
        assert len(starts) == 1 or (len(starts) - 2) * stride + tile < length


def test_overlaps_that_use_up_a_tile_are_refused():
    assert tiling.tile_starts(20, 20, 10) == [0]
    with pytest.raises(ValueError, match=r"a tile of 20 pixels is used up .* tiles of 21 pixels"):
        tiling.tile_starts(21, 20, 10)


@pytest.mark.parametrize(("ramp", "factor"), [(0, 1), (0, 3), (4, 1), (3, 2), (4, 3)])
def test_weights_sum_to_one_and_vanish_where_a_tile_saw_little(ramp, factor):
    tile, overlap = 20, 4
    for length in (21, 30, 33, 77):
        starts = tiling.tile_starts(length, tile, overlap)
        weights = tiling.blend_weights(starts, tile, ramp, factor, np.float64)
        total = np.zeros(factor * length)
        edge = factor * (overlap - ramp / 2)
        for start, weight in zip(starts, weights, strict=True):
            total[factor * start :][: len(weight)] += weight
            assert weight.min() >= 0
            inner = weight.nonzero()[0]
            assert start == 0 or inner[0] >= np.floor(edge)
            assert start == starts[-1] or inner[-1] < factor * tile - np.floor(edge)
        np.testing.assert_allclose(total, 1, rtol=1e-12)


def test_a_blend_of_constants_is_a_ramp_without_a_step():
    """Two tiles of 0 and of 1: the result rises from one to the other by equal steps."""
    image, result = np.zeros((1, 30, 1)), np.zeros((2, 60, 1))
    tiles = tiling.split(image, result, (1, 20), overlap=5, ramp=5)
    levels = iter([0.0, 1.0])
    tiling.run(lambda x: np.full((1, 2, 40, 1), next(levels)), tiles, 1)
    assert result[0, 0] == 0
    assert result[0, -1] == 1
    assert np.diff(result[0, :, 0]).max() == pytest.approx(1 / 10)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-5)])
@pytest.mark.parametrize(("name", "hyperparameters", "scale"), LOCAL)
def test_exact_tiles_equal_the_whole_image(
    network, photo, name, hyperparameters, scale, dtype, tolerance
):
    """Sizes that do not divide; relative to the largest value. Sums differ in their order."""
    model, variables = network(name, **hyperparameters)
    image = photo(25, 42, model.n_colors)
    tile = 2 * model.receptive_radius + 5
    whole = run_network(model, variables, image, scale, Settings(dtype=dtype))
    exact = Settings(tile=tile, overlap="exact", dtype=dtype, batch=2)
    tiled = run_network(model, variables, image, scale, exact)
    assert tiled.dtype == whole.dtype == np.dtype(dtype)
    assert tiled.shape == whole.shape == (25 * scale, 42 * scale, model.n_colors)
    assert relative(tiled, whole) < tolerance
    if dtype == "float64":
        without = Settings(tile=tile, overlap=0, dtype=dtype)
        assert relative(run_network(model, variables, image, scale, without), whole) > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "hyperparameters", "scale", "tile"),
    [
        ("srcnn_955", {}, 3, 48),
        ("vdsr", {}, 2, 64),
        ("srresnet", {}, 4, 96),
        ("edsr_baseline", {}, 2, 96),
        ("edsr", {}, 2, 150),
        ("mdsr", {}, 2, 360),
    ],
)
def test_exact_tiles_equal_the_whole_image_at_full_depth(
    network, photo, name, hyperparameters, scale, tile
):
    model, variables = network(name, **hyperparameters)
    width = tile // scale + 15 if model.takes_interpolated else tile + 13
    image = photo(2, width, model.n_colors)  # float64 in a loop is slow: narrow
    for dtype, tolerance in (("float64", 1e-10), ("float32", 2e-5)):
        whole = run_network(model, variables, image, scale, Settings(dtype=dtype))
        exact = Settings(tile=tile, overlap="exact", dtype=dtype)
        tiled = run_network(model, variables, image, scale, exact)
        assert np.abs(whole).max() > 0
        assert relative(tiled, whole) < tolerance


@pytest.mark.parametrize(("name", "hyperparameters"), GLOBAL)
def test_global_networks_in_tiles(network, photo, name, hyperparameters):
    """What a tile does not see changes its values, but joins are no worse than the rest."""
    model, variables = network(name, **hyperparameters)
    image = photo(24, 66, 3)
    with pytest.raises(ValueError, match="looks at the whole image, so that no tile can equal it"):
        run_network(model, variables, image, 2, Settings(tile=24, overlap="exact"))
    whole = run_network(model, variables, image, 2)
    tiled = run_network(model, variables, image, 2, Settings(tile=24))
    assert 0 < relative(tiled, whole) < 0.5
    # A join would show as a larger second difference of what tiling changed.
    change = np.float64(tiled) - whole
    bend = np.abs(np.diff(change, 2, axis=1)).mean(axis=(0, 2))
    joins = [2 * (a + b + 24) // 2 for a, b in ((0, 10), (10, 21), (21, 31), (31, 42))]
    at_joins = np.mean([bend[join - 3 : join + 2] for join in joins])
    assert at_joins < 1.5 * bend.mean()


def test_the_more_overlap_the_less_changes(network, photo):
    """By at least a half each time; at the radius of 8 nothing is left but rounding."""
    model, variables = network("edsr_baseline", n_resblocks=2, n_feats=8)
    image = photo(18, 54)  # neighbours share no more than they have to
    whole = run_network(model, variables, image, 2)
    changes = []
    for overlap in (0, 3, 6, 8):
        tiled = run_network(model, variables, image, 2, Settings(tile=18, overlap=overlap))
        changes.append(np.abs(tiled - whole).mean())
    assert all(b < a / 2 for a, b in itertools.pairwise(changes))
    assert changes[-1] < 1e-6 * np.abs(whole).max()


@pytest.mark.parametrize(("name", "hyperparameters", "scale"), [*LOCAL, *((*g, 2) for g in GLOBAL)])
@pytest.mark.parametrize("shape", [(1, 1), (7, 1)])
def test_the_smallest_images_pass_through(network, photo, name, hyperparameters, scale, shape):
    """A single pixel, a single column; below a tile the same values as without."""
    model, variables = network(name, **hyperparameters)
    image = photo(*shape, model.n_colors)
    whole = run_network(model, variables, image, scale)
    assert whole.shape == (scale * shape[0], scale * shape[1], model.n_colors)
    assert np.isfinite(whole).all()
    below = run_network(model, variables, image, scale, Settings(tile=64, batch=2))
    np.testing.assert_array_equal(below, whole)


def test_programs_are_few(network, photo):
    """One for all images of a tile or more, one more for every distinct short side."""
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=4)
    compiled.cache_clear()

    def programs(shapes, settings):
        before = compiled.cache_info().misses
        for shape in shapes:
            run_network(model, variables, photo(*shape, 3), 2, settings)
        return compiled.cache_info().misses - before

    large = [(16, 16), (17, 40), (33, 16), (50, 29)]
    assert programs(large, Settings(tile=16)) == 1
    assert programs(large, Settings(tile=16)) == 0
    assert programs([(9, 40), (9, 20), (60, 7)], Settings(tile=16)) == 2
    # Batches: full ones, and powers of two of fewer tiles.
    assert programs([(17, 40), (50, 29), (33, 70)], Settings(tile=16, batch=4)) == 1
    assert programs([(16, 30), (16, 20)], Settings(tile=16, batch=4)) == 1  # 3 and 2 tiles
    # Sides from 65 to 90 of tiles of 200 all become 96; without buckets every size is another.
    short = [(65, 90), (70, 66), (90, 85)]
    assert programs(short, Settings(tile=200, bucket=32)) == 1
    assert programs(short, Settings(bucket=32)) == 0
    assert programs(short[:2], Settings()) == 2


def test_programs_that_are_kept_are_bounded(network, photo):
    """What XLA holds does not grow with the sizes of a folder."""
    model, variables = network("srcnn_915", n_feats=(1, 1))
    client = jax.devices()[0].client
    compiled.cache_clear()
    gc.collect()
    before = len(client.live_executables())
    for width in range(1, MOST_PROGRAMS + 9):
        run_network(model, variables, photo(2, width, 1), 2)
    gc.collect()
    assert len(client.live_executables()) <= before + MOST_PROGRAMS


def test_batches_change_nothing(network, photo):
    """float32: another batch size may sum in another order."""
    model, variables = network("srresnet", n_resblocks=1, n_feats=4)
    image = photo(40, 37, 3)
    one = run_network(model, variables, image, 4, Settings(tile=24))
    four = run_network(model, variables, image, 4, Settings(tile=24, batch=4))
    assert relative(four, one) < 1e-5


@pytest.mark.parametrize(
    ("name", "hyperparameters", "scale"),
    [*LOCAL, *(("srcnn_915", {"padding": padding}, 2) for padding in ("replicate", "valid"))],
)
def test_buckets_of_convolutions_change_nothing(network, photo, name, hyperparameters, scale):
    """The border is where the image ends, not its array. Float64: another order of the sums."""
    model, variables = network(name, **hyperparameters)
    image = photo(5, 37, model.n_colors)
    ensemble = name == "edsr_baseline"  # transposed tiles on transposed arrays
    whole = Settings(dtype="float64", ensemble=ensemble)
    expected = run_network(model, variables, image, scale, whole)
    radius = model.receptive_radius
    for tile in (None, 2 * radius + 8):
        overlap = "exact" if tile else None
        bucket = dataclasses.replace(whole, bucket=16, batch=2, tile=tile, overlap=overlap)
        assert relative(run_network(model, variables, image, scale, bucket), expected) < 1e-12


def test_buckets_of_other_networks_extend_by_the_edge_and_crop(network, photo):
    model, variables = network("rcan", n_resgroups=1, n_resblocks=1, n_feats=4, reduction=2)
    image = photo(20, 30, 3)
    padded = np.pad(image, ((0, 12), (0, 2), (0, 0)), mode="edge")
    expected = run_network(model, variables, padded, 2)[:40, :60]
    bucket = run_network(model, variables, image, 2, Settings(bucket=32))
    np.testing.assert_array_equal(bucket, expected)


def test_bfloat16_is_close_and_kept_in_float32(network, photo):
    """Eight bits of mantissa: 1 % of the largest value."""
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=4)
    image = photo(12, 10, 3)
    full = run_network(model, variables, image, 2)
    half = run_network(model, variables, image, 2, Settings(dtype="bfloat16"))
    assert half.dtype == np.float32
    assert 0 < relative(half, full) < 2e-2
