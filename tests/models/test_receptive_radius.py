"""How far networks look, against how far a NaN in one pixel reaches.

In the textbook forms: in Winograd's a NaN reaches all rows of its block, as its sums do not cancel.
"""

import jax
import numpy as np
import pytest

from sr_jax.models import create_model, example_images, forward
from sr_jax.ops.target import Target, traced_for

SHALLOW = [
    ("srcnn_915", {}, 1),
    ("srcnn_935", {"n_colors": 3}, 1),
    ("srcnn_955", {"padding": "replicate"}, 1),
    ("vdsr", {"depth": 5, "n_feats": 4}, 1),
    *(("srresnet", {"scale": s, "n_resblocks": 1, "n_feats": 4}, s) for s in (2, 3, 4, 8)),
    *(("edsr_baseline", {"scale": s, "n_resblocks": 2, "n_feats": 4}, s) for s in (2, 3, 4, 8)),
    *(("mdsr", {"n_resblocks": 1, "n_feats": 4}, s) for s in (2, 3, 4)),
]
GLOBAL = [
    ("rcan", {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 2}),
    ("san", {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 2}),
    ("csnln", {"n_feats": 4, "depth": 1}),
]


def broken_pixels(model, scale, shape, pixel):
    """Where the output is NaN if one input pixel is: zero weights would not hide the way."""
    shapes = jax.eval_shape(model.init, jax.random.key(0), example_images(model))
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.01, leaf.dtype), shapes)
    image = np.zeros((1, *shape, model.n_colors), np.float32)
    image[0, pixel[0], pixel[1]] = np.nan
    with traced_for(Target("any")):
        return np.isnan(forward(model, variables, image, scale=scale)).any(axis=(0, 3))


@pytest.mark.parametrize(("name", "hyperparameters", "scale"), SHALLOW)
def test_a_broken_pixel_reaches_the_radius_and_no_farther(name, hyperparameters, scale):
    """Exactly, on all four sides, from whatever pixel of a shuffled cell sees farthest."""
    model = create_model(name, **hyperparameters)
    radius = model.receptive_radius
    row, column = radius + 2, radius + 3
    shape = (row + radius + 4, column + radius + 2)
    factor = None if model.takes_interpolated else scale
    rows, columns = np.nonzero(broken_pixels(model, factor, shape, (row, column)))
    assert (rows.min() // scale, rows.max() // scale) == (row - radius, row + radius)
    assert (columns.min() // scale, columns.max() // scale) == (column - radius, column + radius)


@pytest.mark.parametrize(("name", "hyperparameters"), GLOBAL)
def test_networks_without_a_radius_see_everything(name, hyperparameters):
    model = create_model(name, **hyperparameters)
    assert model.receptive_radius is None
    assert broken_pixels(model, None, (24, 24), (0, 0)).all()


@pytest.mark.parametrize(
    ("name", "radius"),
    [("srcnn_915", 6), ("vdsr", 20), ("edsr", 68), ("edsr_baseline", 36), ("mdsr", 172)],
)
def test_radius_at_full_depth(name, radius):
    """Added up by hand; EDSR and MDSR are those of the papers' depths."""
    assert create_model(name).receptive_radius == radius


def test_what_does_not_upscale_has_no_radius():
    assert create_model("vgg19").receptive_radius is None
    assert create_model("srgan_discriminator").receptive_radius is None
