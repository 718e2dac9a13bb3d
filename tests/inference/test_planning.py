"""What a plan predicts, against what the compiler says and what upscaling does."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sr_jax.inference import planning
from sr_jax.inference.network import compiled
from sr_jax.inference.planning import layout, plan, predict_memory, shared_tile
from sr_jax.inference.settings import Settings
from sr_jax.inference.upscaler import run_network
from sr_jax.models import multiply_adds

NETWORKS = [
    ("srcnn_915", {}, 2),
    ("edsr_baseline", {"n_resblocks": 2, "n_feats": 16}, 2),
    ("rcan", {"n_resgroups": 2, "n_resblocks": 1}, 2),
    ("san", {"n_resgroups": 1, "n_resblocks": 1}, 2),
    ("csnln", {"depth": 2, "n_feats": 16, "scale": 3}, 3),
]


@pytest.fixture
def memory(monkeypatch):
    """`memory(bytes)`: so many may a network's program take."""
    return lambda size: monkeypatch.setattr(planning, "_budget", lambda: (size, "a test"))


@pytest.mark.parametrize(("name", "hyperparameters", "scale"), NETWORKS)
def test_prediction_is_what_the_compiler_says(network, name, hyperparameters, scale):
    """Memory grows with the pixels, also of attention in blocks: within 10 %."""
    tile = (270, 600)
    model, variables = network(name, **hyperparameters)
    settings = Settings(batch=2)
    images = jax.ShapeDtypeStruct((2, *tile, model.n_colors), jnp.float32)
    analysis = compiled(model, scale, "float32", 1).lower(variables, images).compile()
    analysis = analysis.memory_analysis()
    needed = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    needed += analysis.temp_size_in_bytes
    predicted = predict_memory(model, variables, tile, scale, settings)
    assert predicted == pytest.approx(needed, rel=0.1)


def test_auto_takes_the_largest_tile_that_fits(network, memory, monkeypatch):
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
    # However much there is, arrays stay below 2**31 values.
    memory(2**50)
    monkeypatch.setattr(planning, "CPU_SCRATCH", 1)
    huge = plan(model, variables, 10**6, 10**6, 2, auto)
    assert "16 GiB, what 32-bit indices reach" in huge.reason
    assert huge.device_memory <= 2**34
    memory(predict_memory(model, variables, (31, 31), 2))
    with pytest.raises(ValueError, match="not enough memory: a tile of 32 pixels a side takes"):
        plan(model, variables, 200, 90, 2, auto)


def test_nothing_is_more_than_convolutions_can_take(network, memory, monkeypatch):
    """XLA:CPU asks for scratch space beyond the compiler's figures, and ends the process."""
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=8)
    memory(2**40)
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(planning, "CPU_SCRATCH", ram // (100 * 100 * 2**2))
    cut = plan(model, variables, 200, 90, 2, Settings(tile="auto"))
    assert cut.tile == (96, 90)
    assert "what XLA:CPU's convolutions can take" in cut.reason
    assert plan(model, variables, 200, 90, 2, Settings(tile="auto", batch=4)).tile == (32, 32)
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


def test_the_tile_that_many_sizes_share(network, memory, monkeypatch):
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=8)
    photos = [(700 - n, 300 + n) for n in range(12)]

    def side(sizes, **options):
        return shared_tile(model, variables, sizes, 2, Settings(tile="auto", overlap=32, **options))

    memory(predict_memory(model, variables, (1000, 1000), 2))
    # 700 x 300 in tiles of 192 that advance by 128: 5 x 2 of them, 1.8 times the pixels; of 256 by
    # 192: 4 x 2, 2.5 times; of 128 by 64: 10 x 4, 3.1 times. All of them are one program.
    assert side(photos) == 192
    assert side(photos[:9]) == 192
    assert side([*photos, (20, 30)]) == 192
    assert side(photos[:8]) is None
    # Counted are sizes, not images, and those that are compiled: upright and lying are one in the
    # files' headers, and in multiples of 32 these are (704 or 672) x (320 or 352).
    assert side([*photos[:8], *photos[:8], (300, 700)]) is None
    assert side(photos, bucket=True) is None
    assert side([]) is None
    # Compilations that cost nothing: whole images; but not more than MOST_PROGRAMS of them.
    monkeypatch.setattr(planning, "CPU_COMPILATION", 0)
    assert side(photos) is None
    monkeypatch.setattr(planning, "MOST_PROGRAMS", 11)
    assert side(photos) == 192
    # No way with so few: the fewest. Of sides from 100 on, 128 alone is one program.
    monkeypatch.setattr(planning, "MOST_PROGRAMS", 0)
    assert side([(500, 130 + n) for n in range(12)]) == 128
    memory(predict_memory(model, variables, (100, 100), 2))
    assert side(photos) == 96
    memory(predict_memory(model, variables, (31, 31), 2))
    with pytest.raises(ValueError, match="not enough memory: a tile of 32"):
        side(photos)


def test_the_shared_tile_of_interpolated_images(network, memory):
    model, variables = network("srcnn_915")
    memory(2**40)
    sizes = [(101 + n, 120) for n in range(9)]
    # 303 to 360 pixels after interpolation by 3: two tiles of 192 that share 2 * 8 each way.
    assert shared_tile(model, variables, sizes, 3, Settings()) == 192
    assert shared_tile(model, variables, sizes, 2, Settings()) == 128


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
    bucket = layout(csnln, variables, (40, 50), 3, Settings(bucket=True))
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
