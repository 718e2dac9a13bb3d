"""Counts the multiply-adds of a program from its jaxpr, without running it."""

import math
from collections.abc import Callable, Iterator
from typing import Any

from jax.extend import core


def count_multiply_adds(jaxpr: core.Jaxpr) -> int:
    """Multiply-adds of all matrix products and convolutions; see `total`.

    Args:
        jaxpr: of any function, for example `jax.make_jaxpr(function)(*arguments).jaxpr`.

    Raises:
        ValueError: products in a loop whose length is not known before it runs.
    """
    return total(jaxpr, _multiply_adds)


def total(jaxpr: core.Jaxpr, cost: Callable[[core.JaxprEqn], int]) -> int:
    """The cost of all equations, loop bodies times their length.

    A conditional counts as its most expensive branch.

    Args:
        jaxpr: of any function.
        cost: of one equation, without what is inside it.

    Raises:
        ValueError: a cost in a loop whose length is not known before it runs.
    """
    found = 0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        inner = [total(jaxpr, cost) for jaxpr in _inner_jaxprs(params)]
        if name == "while" and any(inner):
            raise ValueError("a loop of unknown length: what it does cannot be counted")
        rounds = int(params["length"]) if name == "scan" else 1
        found += cost(equation) + rounds * (max(inner) if name == "cond" else sum(inner))
    return found


def _multiply_adds(equation: core.JaxprEqn) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = _shape(equation.invars[0])
        return math.prod(_shape(equation.outvars[0])) * math.prod(left[i] for i in contracted)
    if name == "conv_general_dilated":
        kernel = _shape(equation.invars[1])
        features = kernel[params["dimension_numbers"].rhs_spec[0]]
        # The zeros that a transposed convolution puts between the pixels are not counted.
        dilation = math.prod(params["lhs_dilation"])
        return math.prod(_shape(equation.outvars[0])) * math.prod(kernel) // features // dilation
    return 0


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _inner_jaxprs(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
    """The jaxprs among an equation's parameters: bodies of calls, loops and branches."""
    for value in params.values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item
