"""What a row's arithmetic and its memory traffic take at least on this machine."""

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core

from experiments.throughput.networks import Cell
from experiments.throughput.ours import discriminator_of, model_of
from sr_jax.models import multiply_adds, variable_shapes
from sr_jax.models.network import Network
from sr_jax.ops.multiply_adds import total
from sr_jax.ops.target import Target, traced_for


class Passes(NamedTuple):
    """Forward passes of a network that are as much work as a run of a cell.

    A backward pass counts as two, what is computed again for want of memory not at all.
    """

    model: Network
    size: tuple[int, int]
    scale: int | None
    count: int


def passes(cell: Cell) -> Iterator[Passes]:
    """Of all networks of a cell.

    SRGAN's step also has the discriminator: forward and back to its input for the generator,
    forward and backward twice for itself.
    """
    training = cell.task == "train"
    yield Passes(model_of(cell), cell.input_size, cell.network.scale, 3 if training else 1)
    if training and cell.network.adversarial:
        yield Passes(discriminator_of(cell), cell.output_size, None, 8)


def flops(cell: Cell) -> int:
    """Operations of one run: two for a multiply-add, none for elementwise work."""
    each = (p.count * multiply_adds(p.model, *p.size, p.scale) for p in passes(cell))
    return 2 * cell.batch * sum(each)


def layer_bytes(cell: Cell) -> int:
    """Bytes of one run: what every convolution and product reads and writes, each array once."""
    found = 0
    for model, size, scale, count in passes(cell):
        images = jax.ShapeDtypeStruct((cell.batch, *size, model.n_colors), jnp.dtype(cell.dtype))
        step = functools.partial(model.apply, scale=scale, train=False)
        with traced_for(Target("any")):
            jaxpr = jax.make_jaxpr(step)(variable_shapes(model), images).jaxpr
        found += count * total(jaxpr, _bytes)
    return found


def _bytes(equation: core.JaxprEqn) -> int:
    if equation.primitive.name not in ("dot_general", "conv_general_dilated"):
        return 0
    arrays = [variable.aval for variable in (*equation.invars, *equation.outvars)]
    return sum(math.prod(array.shape) * array.dtype.itemsize for array in arrays)
