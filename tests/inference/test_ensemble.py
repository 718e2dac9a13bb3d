"""Self-ensemble against its definition, written out."""

import numpy as np
import pytest

from sr_jax.imaging.resize import imresize
from sr_jax.inference.ensemble import symmetries
from sr_jax.inference.settings import Settings
from sr_jax.inference.upscaler import run_network


def test_there_are_eight():
    image = np.arange(6.0).reshape(2, 3, 1)
    views = [view.tobytes() + bytes(view.shape) for view in symmetries(image)]
    assert len(set(views)) == 8
    assert symmetries(image)[0] is image
    assert all(np.shares_memory(view, image) for view in symmetries(image))


def by_definition(function, image):
    """Every symmetry there, through, and back; the mean of floats."""
    total = 0.0
    for turns in range(4):
        for flip in (False, True):
            view = np.rot90(image, turns)
            result = function(np.ascontiguousarray(view[:, ::-1] if flip else view))
            total = total + np.rot90(result[:, ::-1] if flip else result, -turns)
    return total / 8


@pytest.mark.parametrize("shape", [(9, 14), (11, 11)])
@pytest.mark.parametrize("batch", [1, 3])
def test_mean_of_the_symmetries(network, photo, shape, batch):
    """float64: the same sums in another order, 1e-12."""
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=4)
    image = photo(*shape, 3)
    single = Settings(dtype="float64")
    expected = by_definition(lambda x: run_network(model, variables, x, 2, single), image)
    settings = Settings(ensemble=True, dtype="float64", batch=batch)
    np.testing.assert_allclose(
        run_network(model, variables, image, 2, settings), expected, rtol=1e-12, atol=1e-13
    )
    assert np.abs(run_network(model, variables, image, 2, single) - expected).max() > 1e-3


def test_tiles_of_symmetries(network, photo):
    """Exact tiles: as without tiles, for an image that is not square."""
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=4)
    image = photo(13, 29, 3)
    whole = run_network(model, variables, image, 2, Settings(ensemble=True, dtype="float64"))
    exact = Settings(tile=18, overlap="exact", ensemble=True, dtype="float64", batch=4)
    np.testing.assert_allclose(
        run_network(model, variables, image, 2, exact), whole, rtol=1e-12, atol=1e-13
    )


def test_networks_on_interpolated_images(network, photo):
    """The symmetries of the interpolated image are the interpolations of the symmetries."""
    model, variables = network("vdsr", depth=3, n_feats=4)
    image = photo(7, 12, 1)
    single = Settings(dtype="float64")
    expected = by_definition(lambda x: run_network(model, variables, x, 3, single), image)
    settings = Settings(dtype="float64", ensemble=True)
    np.testing.assert_allclose(
        run_network(model, variables, image, 3, settings), expected, rtol=1e-12, atol=1e-13
    )
    turned = imresize(image.swapaxes(0, 1), 3).swapaxes(0, 1)
    np.testing.assert_allclose(turned, imresize(image, 3), atol=1e-13)
