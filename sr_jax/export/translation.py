"""Programs of JAX as ONNX graphs, one operation after the other."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sr_jax.export.graph import Graph, Tensor, constant, is_static, same
from sr_jax.export.rules import ELEMENTWISE, RULES, Equation, compute, elementwise

# Those whose program is the value of a parameter.
CALLS = {
    "jit": "jaxpr",
    "remat2": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}
SAME = {"stop_gradient", "copy", "copy_p", "optimization_barrier"}


def translate(graph: Graph, program: Any, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Adds a program to a graph.

    Args:
        graph: takes the nodes.
        program: what `jax.make_jaxpr` returns.
        inputs: the program's arguments.

    Returns:
        Its results.

    Raises:
        ValueError: an operation that has no translation.
    """
    jaxpr, constants = getattr(program, "jaxpr", program), getattr(program, "consts", ())
    values: dict[Any, Tensor] = {}
    values.update(zip(jaxpr.constvars, map(constant, constants), strict=True))
    values.update(zip(jaxpr.invars, inputs, strict=True))

    def read(variable: Any) -> Tensor:
        if hasattr(variable, "val"):  # a number that stands in the program
            return constant(np.asarray(variable.val, variable.aval.dtype))
        return values[variable]

    for equation in jaxpr.eqns:
        operands = [read(variable) for variable in equation.invars]
        results = _results(graph, equation, operands)
        values.update(zip(equation.outvars, results, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _results(graph: Graph, equation: Equation, operands: list[Tensor]) -> list[Tensor]:
    name, parameters = equation.primitive.name, equation.params
    if name in SAME:
        return operands
    if name in CALLS:
        return translate(graph, parameters[CALLS[name]], operands)
    if name == "scan":
        return _unrolled(graph, parameters, operands)
    if name in ELEMENTWISE:
        return [elementwise(graph, equation, operands)]
    static = all(is_static(d) for v in (*equation.invars, *equation.outvars) for d in v.aval.shape)
    kept = name in ("broadcast_in_dim", "dim_as_value")
    if static and not kept and all(each.known for each in operands):
        full = [graph.full(x, v.aval.shape) for x, v in zip(operands, equation.invars, strict=True)]
        return [constant(compute(equation, [each.array for each in full]))]
    if name not in RULES:
        raise ValueError(f"the network has the operation {name}, of which ONNX is not given a form")
    return [RULES[name](graph, equation, operands)]


def _unrolled(graph: Graph, parameters: dict[str, Any], operands: list[Tensor]) -> list[Tensor]:
    """A loop, its rounds one after the other."""
    n_constants, n_carry = parameters["num_consts"], parameters["num_carry"]
    fixed, carry = operands[:n_constants], operands[n_constants : n_constants + n_carry]
    stacks = operands[n_constants + n_carry :]
    rounds = range(parameters["length"])
    collected = []
    for index in reversed(rounds) if parameters["reverse"] else rounds:
        slices = [_index(graph, stack, index) for stack in stacks]
        results = translate(graph, parameters["jaxpr"], [*fixed, *carry, *slices])
        carry = results[:n_carry]
        collected.append(results[n_carry:])
    if parameters["reverse"]:
        collected.reverse()
    return [*carry, *(_stack(graph, each) for each in zip(*collected, strict=True))]


def _index(graph: Graph, stack: Tensor, index: int) -> Tensor:
    """One entry along the first axis."""
    if stack.known:
        return constant(stack.array[0 if len(stack.array) == 1 else index])
    order = tuple(axis - 1 for axis in stack.order if axis)
    place = np.array(0 if same(stack.shape[0], 1) else index, np.int64)
    entry = graph.node("Gather", stack.data, place, axis=stack.position(0))
    return Tensor(entry, stack.shape[1:], order)


def _stack(graph: Graph, entries: Sequence[Tensor]) -> Tensor:
    """Entries along a new first axis."""
    first = entries[0]
    names = [
        graph.node("Unsqueeze", graph.named(entry, first.order), np.array([0], np.int64))
        for entry in entries
    ]
    order = (0, *(axis + 1 for axis in first.order))
    shape = (len(entries), *first.shape)
    return Tensor(graph.node("Concat", *names, axis=0), shape, order)
