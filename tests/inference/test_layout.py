"""How images are cut, and that a plan is what upscaling does."""

import numpy as np
import psutil
import pytest

from sr_jax.inference import cost
from sr_jax.inference.cost import predict_memory
from sr_jax.inference.layout import layout, plan, share_programs
from sr_jax.inference.program import compiled
from sr_jax.inference.settings import Settings
from sr_jax.inference.upscaler import run_network
from sr_jax.models import multiply_adds


def test_auto_takes_the_largest_tile_that_fits(network, memory):
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=8)
    auto = Settings(tile="auto")
    memory(predict_memory(model, variables, (100, 100), 2))
    cut = plan(model, variables, 200, 90, 2, auto)
    assert cut.tile == (96, 90)  # multiples of 32 where the image is longer
    assert "a square of 96 is the largest in a test" in cut.reason
    assert cut.device_memory < predict_memory(model, variables, (100, 100), 2)
    # Both in one piece, as 100 * 100 pixels fit, though a side is longer than 96.
    for shape in ((100, 100), (200, 50)):
        whole = plan(model, variables, *shape, 2, auto)
        assert (whole.tile, whole.tiles) == (shape, 1)
        assert "the whole image" in whole.reason


@pytest.mark.parametrize("bucket", [1, 32])
def test_of_a_small_image_only_its_own_program_is_compiled(network, photo, monkeypatch, bucket):
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=8)
    asked = []
    monkeypatch.setattr("sr_jax.inference.layout.largest_tile", lambda *_: asked.append(1))
    compiled.cache_clear()
    run_network(model, variables, photo(40, 50), 2, Settings(tile="auto", bucket=bucket))
    assert not asked
    assert compiled.cache_info().misses == 1


def test_what_convolutions_cannot_take_is_refused(network, monkeypatch):
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=8)
    ram = psutil.virtual_memory().total
    monkeypatch.setattr(cost, "CPU_SCRATCH", ram // (100 * 100 * 2**2))
    plan(model, variables, 100, 100, 2)
    for size, settings in (((101, 101), Settings()), ((200, 200), Settings(tile=101))):
        with pytest.raises(ValueError, match=r"101 x 101 pixels at once .* a tile of at most 96"):
            plan(model, variables, *size, 2, settings)


def test_auto_is_what_upscaling_does(network, photo, memory, monkeypatch):
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=8)
    memory(predict_memory(model, variables, (40, 40), 2))
    whole = run_network(model, variables, photo(70, 90), 2)
    shapes = []

    def spy(*key):
        function = compiled(*key)
        return lambda variables, images: shapes.append(images.shape) or function(variables, images)

    monkeypatch.setattr("sr_jax.inference.upscaler.compiled", spy)
    tiled = run_network(model, variables, photo(70, 90), 2, Settings(tile="auto"))
    expected = plan(model, variables, 70, 90, 2, Settings(tile="auto"))
    assert shapes == [(1, *expected.tile, 3)] * expected.tiles
    assert expected.tile == (32, 32)
    np.testing.assert_allclose(tiled, whole, atol=1e-2 * np.abs(whole).max())


AUTO = Settings(tile="auto")
SMALL = [(20 + 15 * n, 150 - 13 * n) for n in range(9)]
NINE = [(700 - n, 300 + n) for n in range(9)]


@pytest.mark.parametrize(
    ("name", "fields", "side"),
    [
        ("edsr_baseline", {"n_resblocks": 1, "n_feats": 8}, 128),
        ("srcnn_915", {}, 128),
        ("srcnn_915", {"kernel_sizes": (51, 1, 31), "n_feats": (1, 1)}, 160),  # a radius of 40
    ],
)
def test_small_images_of_many_sizes_share_one_program(network, memory, name, fields, side):
    model, variables = network(name, **fields)
    memory(2**40)
    shared = share_programs(model, variables, SMALL, 2, AUTO)
    assert (shared.tile, shared.overlap, shared.bucket) == (side, "exact", side)


def test_programs_are_weighed_against_arithmetic(network, memory):
    """The more images of a size and the heavier the network, the smaller the buckets."""
    memory(2**40)
    light, heavy = network("edsr_baseline", n_resblocks=1), network("edsr", n_resblocks=16)
    for times, bucket in ((1, 128), (20, 64), (400, 1)):
        assert share_programs(*light, times * SMALL, 2, AUTO).bucket == bucket
    assert share_programs(*heavy, 10 * SMALL, 2, AUTO) == AUTO


def test_sizes_are_counted_as_they_are_compiled(network, memory):
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=8)
    memory(2**40)

    def share(sizes, settings=AUTO):
        return share_programs(model, variables, sizes, 2, settings)

    assert share([]) == AUTO
    assert share(NINE[:8]) == AUTO
    # Not images: upright and lying are one in the files' headers.
    assert share([*NINE[:8], *NINE[:8], (300, 700)]) == AUTO
    assert share(NINE) != AUTO


def test_what_is_asked_for_and_what_cannot_share_stays(network, memory):
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=8)
    memory(2**40)
    for asked in (Settings(), Settings(tile=64), Settings(tile="auto", overlap=2)):
        assert share_programs(model, variables, NINE, 2, asked) == asked
    rcan = network("rcan", n_resgroups=1, n_resblocks=1, n_feats=8, reduction=2)
    assert share_programs(*rcan, NINE, 2, AUTO) == AUTO
    # No tile of 128 where the memory does not take it.
    memory(predict_memory(model, variables, (127, 127), 2))
    assert share_programs(model, variables, NINE, 2, AUTO).tile == "auto"


def test_tiles_and_multiply_adds_of_a_plan(network):
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=8)
    # 4 x 5 tiles of 32 with 6 pixels of overlap (the radius) on 90 x 100.
    single = plan(model, variables, 90, 100, 2, Settings(tile=32))
    assert (single.tile, single.tiles) == ((32, 32), 4 * 5)
    assert single.multiply_adds == 20 * multiply_adds(model, 32, 32)
    assert single.host_memory > 180 * 200 * 3 * 4
    plus = plan(model, variables, 90, 100, 2, Settings(tile=32, ensemble=True))
    assert (plus.tiles, plus.multiply_adds) == (8 * 20, 8 * single.multiply_adds)


def test_tiles_of_an_interpolated_image_are_of_the_interpolated_image(network):
    model, variables = network("vdsr", depth=4, n_feats=4)
    cut = plan(model, variables, 30, 20, 3, Settings(tile=64))
    # An overlap of 4 leaves 56 of 64: two tiles for 90 rows, one for 60 columns.
    assert (cut.tile, cut.tiles) == ((64, 60), 2)


def test_sizes_that_a_network_cannot_take(network):
    """CSNLN x3 wants multiples of 3, SAN at least 4 pixels."""
    csnln, variables = network("csnln", scale=3, n_feats=4, depth=1)
    cut = layout(csnln, variables, (20, 50), 3, Settings(tile=32))
    assert (cut.size, cut.tile) == ((21, 51), (21, 30))
    bucket = layout(csnln, variables, (40, 50), 3, Settings(bucket=32))
    assert bucket.size == (66, 66)
    san, variables = network("san", n_resgroups=1, n_resblocks=1, n_feats=8, reduction=2)
    assert layout(san, variables, (1, 50), 2, Settings(tile=2)).tile == (4, 4)


def test_default_overlap(network):
    """The least of the radius, 32 and a quarter of the tile; a cut where tiles agree anyway."""

    def overlap_and_ramp(name, tile, overlap=None, **hyperparameters):
        model, variables = network(name, **hyperparameters)
        cut = layout(model, variables, (500, 500), 2, Settings(tile=tile, overlap=overlap))
        return cut.overlap, cut.ramp

    edsr = {"n_feats": 4, "n_resblocks": 20}  # radius 44
    assert overlap_and_ramp("edsr", 400, **edsr) == (32, 32)
    assert overlap_and_ramp("edsr", 40, **edsr) == (10, 10)
    assert overlap_and_ramp("edsr", 400, 20, **edsr) == (20, 20)
    assert overlap_and_ramp("edsr", 400, 50, **edsr) == (50, 0)
    assert overlap_and_ramp("edsr", 400, "exact", **edsr) == (44, 0)
    assert overlap_and_ramp("srcnn_915", 400) == (6, 0)
    assert overlap_and_ramp("csnln", 400, n_feats=4, depth=1) == (32, 32)
