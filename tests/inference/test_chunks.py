"""Images one by one, and an image in bands of rows, against the whole.

Tolerance 1e-6 of the largest value, float32: the same sums, which a convolution of another size
may take in another order.
"""

import functools

import jax
import numpy as np
import pytest

from sr_jax.inference.chunks import chunk_batch, chunk_rows
from sr_jax.inference.program import jitted
from sr_jax.inference.settings import Settings
from sr_jax.inference.upscaler import run_network
from sr_jax.models import create_model, forward
from sr_jax.ops.target import Target, traced_for

TOLERANCE = 1e-6


def relative_error(a, b) -> float:
    return float(np.abs(np.asarray(a) - b).max() / np.abs(b).max())


@pytest.mark.parametrize("count", [1, 3])
def test_images_chunk_batch_are_the_batch(network, count):
    model, variables = network("srcnn_915")
    images = np.random.default_rng(0).random((count, 20, 18, 1), np.float32)
    sizes = []

    def step(variables, images):
        sizes.append(len(images))
        return forward(model, variables, images)

    result = jax.jit(chunk_batch(step))(variables, images)
    assert set(sizes) == {1}
    assert relative_error(result, np.asarray(forward(model, variables, images))) < TOLERANCE


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
@pytest.mark.parametrize(("height", "rows"), [(191, 191), (192, 60), (193, 61), (201, 63)])
def test_an_image_chunk_rows_is_the_image(network, padding, height, rows):
    model, variables = network("srcnn_915", padding=padding)
    images = np.random.default_rng(0).random((2, height, 20, 1), np.float32)
    heights = []

    def step(variables, images):
        heights.append(images.shape[1])
        return forward(model, variables, images)

    result = jax.jit(chunk_rows(step, model))(variables, images)
    assert set(heights) == {rows}
    assert relative_error(result, np.asarray(forward(model, variables, images))) < TOLERANCE


@pytest.mark.parametrize("padding", ["zeros", "replicate"])
@pytest.mark.parametrize("height", [130, 160])
def test_bands_of_an_array_that_an_image_does_not_fill(network, padding, height):
    """The image ends in the third band of four, and in the fourth."""
    model, variables = network("srcnn_915", padding=padding)
    image = np.random.default_rng(0).random((height, 20, 1), np.float32)
    expected = run_network(model, variables, image, 1)
    result = run_network(model, variables, image, 1, Settings(bucket=200))
    assert relative_error(result, expected) < TOLERANCE


@pytest.mark.parametrize("name", ["vdsr", "edsr", "rcan"])
def test_networks_that_look_far_take_images_whole(name):
    def step(variables, images):
        return images

    assert chunk_rows(step, create_model(name)) is step


def test_an_accelerator_takes_everything_whole(network):
    model, variables = network("srcnn_915")
    shapes = []

    def step(variables, images):
        shapes.append(images.shape)
        return images

    with traced_for(Target("gpu")):
        chunk_batch(chunk_rows(step, model))(variables, np.zeros((64, 256, 256, 1), np.float32))
    assert shapes == [(64, 256, 256, 1)]


def temporaries(variables, function, shape):
    program = function.lower(variables, jax.ShapeDtypeStruct(shape, np.float32)).compile()
    return program.memory_analysis().temp_size_in_bytes


def test_bands_take_less_memory(network):
    model, variables = network("srcnn_915")
    chunked, whole = jitted(model, 2, "float32", 1), jax.jit(functools.partial(forward, model))
    shape = (1, 256, 128, 1)
    needed = [temporaries(variables, function, shape) for function in (chunked, whole)]
    assert needed[0] < 0.4 * needed[1]


def test_a_batch_takes_hardly_more_memory_than_one_image(network):
    model, variables = network("srcnn_915")
    chunked = jitted(model, 2, "float32", 1)
    one, eight = (temporaries(variables, chunked, (n, 100, 128, 1)) for n in (1, 8))
    assert eight < 1.2 * one
