"""What is exported: a network as a function of images alone, and what its user must know."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.export import symbolic_shape

from sr_jax.models import Variables, check_call, describe_model, forward
from sr_jax.models.network import Network
from sr_jax.ops.target import Target, traced_for

# Of the largest value. Other orders of the same sums are below it, wrong operations far above.
TOLERANCE = 1e-5
# Images by which an export of free sizes is tried: two, so that no size can be frozen in it.
TRIED = ((1, 24, 36), (2, 30, 24))


class Program(NamedTuple):
    """A network that is to be exported.

    Attributes:
        function: (N, H, W, C) -> (N, s * H, s * W, C), with its weights inside.
        images: what it takes; free sizes are symbols.
        reference: what the export must give for an array of images.
        facts: what a user of the export must know, by name, plain values.
    """

    function: Callable[[jax.Array], jax.Array]
    images: jax.ShapeDtypeStruct
    reference: Callable[[np.ndarray], np.ndarray]
    facts: dict[str, Any]


def make_program(
    model: Network,
    variables: Variables,
    *,
    scale: int | None = None,
    size: tuple[int, int] | None = None,
) -> Program:
    """The program of a network, in the textbook forms that every platform runs.

    Args:
        model, variables: the network.
        scale: of a network with several, the one that is exported.
        size: height and width of the images, which then come one by one; None leaves sizes and
            number free.

    Raises:
        ValueError: a network that makes no images; a scale or a size that it has not; no size, and
            its program depends on it.
    """
    model = model.for_inference()
    name, hyperparameters = describe_model(model)
    if not model.upscales:
        raise ValueError(f"{name} makes no images: there is nothing to export")
    if model.scales and scale is None:
        scales = ", ".join(map(str, model.scales))
        raise ValueError(f"{name} has the scales {scales}: say which is exported (--scale)")
    scale = None if model.takes_interpolated else scale
    height, width = size or (24, 24)
    check_call(model, (1, height, width, model.n_colors), np.float32, scale)

    def function(images: jax.Array) -> jax.Array:
        with traced_for(Target("any")):
            result = model.apply(variables, images, scale=model.call_scale(scale), train=False)
        return cast(jax.Array, result)

    def reference(images: np.ndarray) -> np.ndarray:
        return np.asarray(forward(model, variables, jnp.asarray(images), scale=scale))

    shape = (1, *size) if size else symbolic_shape("n, h, w")
    images = jax.ShapeDtypeStruct((*shape, model.n_colors), jnp.float32)
    try:
        jax.eval_shape(function, images)
    except (TypeError, ValueError, jax.errors.InconclusiveDimensionOperation):
        if size:
            raise
        raise ValueError(
            f"the program of {name} depends on the size of its images: say which (--size 128x96)"
        ) from None
    facts = {
        "architecture": name,
        "hyperparameters": hyperparameters,
        "scale": scale or model.scale,
        "takes_interpolated": model.takes_interpolated,
        "channels": model.n_colors,
        "size": list(size) if size else None,
    }
    return Program(function, images, reference, facts)


def greatest_difference(
    program: Program, exported: Callable[[np.ndarray], np.ndarray]
) -> tuple[float, list[str]]:
    """How far an export is from the network, on noise: of the largest value of the result.

    Args:
        program: the network.
        exported: what was made of it, of arrays (N, H, W, C).

    Returns:
        (difference, the sizes that were tried, in words).

    Raises:
        ValueError: more than `TOLERANCE`.
    """
    fixed = program.facts["size"]
    shapes = [(1, *fixed)] if fixed else TRIED
    differences = []
    for seed, shape in enumerate(shapes):
        noise = np.random.default_rng(seed).random((*shape, program.facts["channels"]), np.float32)
        expected = program.reference(noise)
        difference = np.abs(exported(noise) - expected).max() / np.abs(expected).max()
        differences.append(float(difference))
    worst = max(differences)
    if not worst <= TOLERANCE:  # nor NaN
        raise ValueError(
            f"the export differs from the network by {worst:.1e} of the largest value, more than "
            f"{TOLERANCE:g}: it is not kept"
        )
    return worst, ["x".join(map(str, shape)) for shape in shapes]
