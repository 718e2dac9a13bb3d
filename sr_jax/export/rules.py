"""ONNX nodes of single operations of JAX."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sr_jax.export.graph import Dim, Graph, Tensor, constant, groups, is_static, same

# jax.extend.core is JAX's public name for the types of its programs.
Equation = Any
Rule = Callable[[Graph, Equation, list[Tensor]], Tensor]

ELEMENTWISE = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "max": "Max",
    "min": "Min",
    "neg": "Neg",
    "abs": "Abs",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
    "logistic": "Sigmoid",
    "erf": "Erf",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "lt": "Less",
    "le": "LessOrEqual",
    "eq": "Equal",
    "and": "And",
    "or": "Or",
    "not": "Not",
    "rsqrt": "",
    "square": "",
    "integer_pow": "",
    "select_n": "",
    "convert_element_type": "",
}


def compute(equation: Equation, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The result of an equation for known operands."""
    return np.asarray(equation.primitive.bind(*arrays, **equation.params))


def _broadcast(shapes: Sequence[tuple[Dim, ...]]) -> tuple[Dim, ...]:
    return tuple(
        next((size for size in sizes if not same(size, 1)), 1)
        for sizes in zip(*shapes, strict=True)
    )


def elementwise(graph: Graph, equation: Equation, operands: list[Tensor]) -> Tensor:
    """The node of one of `ELEMENTWISE`."""
    shape = _broadcast([each.shape for each in operands if each.shape] or [()])
    if all(each.known for each in operands):
        arrays = [np.broadcast_to(each.array, shape) for each in operands]
        return constant(compute(equation, arrays))
    # The largest operand keeps its order, the others follow.
    largest = max(operands, key=lambda x: (not x.known, sum(not same(d, 1) for d in x.shape)))
    order = largest.order if len(largest.order) == len(shape) else tuple(range(len(shape)))
    names = [graph.named(each, order if each.shape else None) for each in operands]
    return Tensor(_operation(graph, equation, names), shape, order)


def _operation(graph: Graph, equation: Equation, names: list[str]) -> str:
    match equation.primitive.name:
        case "max" if any(graph.is_zero(name) for name in names):
            return graph.node("Relu", *(name for name in names if not graph.is_zero(name)))
        case "rsqrt":
            return graph.node("Reciprocal", graph.node("Sqrt", *names))
        case "square":
            return graph.node("Mul", *names, *names)
        case "integer_pow":
            power = np.array(equation.params["y"], np.float32)
            return graph.node("Pow", *names, power)
        case "select_n":
            which, *cases = names
            if len(cases) != 2:
                raise ValueError(f"a choice of {len(cases)} cases, of which ONNX has no form")
            slope = graph.slope(which, *cases)
            if slope:
                return graph.node("PRelu", cases[1], slope)
            return graph.node("Where", which, cases[1], cases[0])
        case "convert_element_type":
            return graph.node("Cast", *names, to=onnx_dtype(equation.params["new_dtype"]))
        case name:
            return graph.node(ELEMENTWISE[name], *names)


def onnx_dtype(dtype: Any) -> int:
    """ONNX's number of a dtype."""
    import onnx

    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _conv(graph: Graph, equation: Equation, operands: list[Tensor]) -> Tensor:
    image, kernel = operands
    parameters = equation.params
    numbers = parameters["dimension_numbers"]
    pads = np.array(parameters["padding"]).T
    x = graph.named(graph.full(image, equation.invars[0].aval.shape), numbers.lhs_spec)
    result = equation.outvars[0].aval.shape
    kernel = graph.full(kernel, equation.invars[1].aval.shape)
    common = {
        "dilations": list(parameters["rhs_dilation"]),
        "group": parameters["feature_group_count"],
    }
    stride = list(parameters["lhs_dilation"])
    if stride == [1, 1]:
        weights = graph.named(kernel, numbers.rhs_spec)
        strides = list(parameters["window_strides"])
        y = graph.node("Conv", x, weights, strides=strides, pads=pads.ravel().tolist(), **common)
        return Tensor(y, result, numbers.out_spec)
    if not kernel.known or set(parameters["window_strides"]) != {1} or common["group"] != 1:
        raise ValueError("a convolution with two strides, of which ONNX has no form")
    out, into, *spatial = numbers.rhs_spec
    flipped = np.transpose(kernel.array, (into, out, *spatial))[:, :, ::-1, ::-1]
    spatial_sizes = flipped.shape[2:]
    cut = [side - 1 - pad for pair in pads for side, pad in zip(spatial_sizes, pair, strict=True)]
    y = graph.node("ConvTranspose", x, flipped, strides=stride, pads=cut, **common)
    return Tensor(y, result, numbers.out_spec)


def _dot(graph: Graph, equation: Equation, operands: list[Tensor]) -> Tensor:
    a, b = (graph.full(x, v.aval.shape) for x, v in zip(operands, equation.invars, strict=True))
    (a_sums, b_sums), (a_batch, b_batch) = equation.params["dimension_numbers"]
    shape = equation.outvars[0].aval.shape
    if len(a.shape) == 4 and a_sums == (3,) and b.known and len(b.shape) == 2 and not a_batch:
        # A matrix for every pixel is a 1x1 convolution, which needs no other order of axes.
        kernel = b.array if b_sums == (0,) else b.array.T
        x = graph.named(a, (0, 3, 1, 2))
        return Tensor(graph.node("Conv", x, kernel.T[:, :, None, None]), shape, (0, 3, 1, 2))
    a_free = [k for k in range(len(a.shape)) if k not in (*a_sums, *a_batch)]
    b_free = [k for k in range(len(b.shape)) if k not in (*b_sums, *b_batch)]
    order = tuple(range(len(shape)))
    if len(a_free) == len(b_free) == len(a_sums) == 1:
        left = graph.named(a, (*a_batch, *a_free, *a_sums))
        right = graph.named(b, (*b_batch, *b_sums, *b_free))
        return Tensor(graph.node("MatMul", left, right), shape, order)
    letters = itertools.count(ord("a"))
    of_a = {axis: chr(next(letters)) for axis in range(len(a.shape))}
    of_b = {k: of_a[j] for j, k in zip((*a_sums, *a_batch), (*b_sums, *b_batch), strict=True)}
    of_b |= {axis: chr(next(letters)) for axis in b_free}
    result = [*(of_a[k] for k in (*a_batch, *a_free)), *(of_b[k] for k in b_free)]
    terms = ["".join(of[k] for k in x.order) for of, x in ((of_a, a), (of_b, b))]
    formula = f"{','.join(terms)}->{''.join(result)}"
    y = graph.node("Einsum", graph.named(a), graph.named(b), equation=formula)
    return Tensor(y, shape, order)


def _broadcast_in_dim(graph: Graph, equation: Equation, operands: list[Tensor]) -> Tensor:
    x = operands[0]
    places = equation.params["broadcast_dimensions"]
    rank = len(equation.outvars[0].aval.shape)
    shape = [1] * rank
    for axis, place in enumerate(places):
        shape[place] = x.shape[axis]
    order = (*(places[axis] for axis in x.order), *(k for k in range(rank) if k not in places))
    n_new = rank - len(places)
    if x.known:
        data = np.asarray(x.data).reshape(*np.shape(x.data), *(1,) * n_new)
        return Tensor(data, tuple(shape), order)
    if not n_new:
        return Tensor(x.data, tuple(shape), order)
    axes = np.arange(len(places), rank, dtype=np.int64)
    return Tensor(graph.node("Unsqueeze", x.data, axes), tuple(shape), order)


def _squeeze(graph: Graph, equation: Equation, operands: list[Tensor]) -> Tensor:
    x, gone = operands[0], equation.params["dimensions"]
    kept = [axis for axis in range(len(x.shape)) if axis not in gone]
    order = tuple(kept.index(axis) for axis in x.order if axis in kept)
    places = np.array(sorted(x.position(axis) for axis in gone), np.int64)
    y = graph.node("Squeeze", graph.named(x), places)
    return Tensor(y, tuple(x.shape[axis] for axis in kept), order)


def _transpose(graph: Graph, equation: Equation, operands: list[Tensor]) -> Tensor:
    x, permutation = operands[0], equation.params["permutation"]
    shape = tuple(x.shape[axis] for axis in permutation)
    return Tensor(x.data, shape, tuple(permutation.index(axis) for axis in x.order))


def _reshape(graph: Graph, equation: Equation, operands: list[Tensor]) -> Tensor:
    before, after = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    x = graph.full(operands[0], before)
    found = groups(before, after)
    # Axes that become one must lie side by side; those that are split may lie anywhere.
    found.sort(key=lambda group: max(x.position(axis) for axis in group[0]))
    ones = [axis for axis, size in enumerate(before) if same(size, 1)]
    x = graph.ordered(x, [*(axis for ours, _ in found for axis in ours), *ones])
    order = [axis for _, theirs in found for axis in theirs]
    order += [axis for axis, size in enumerate(after) if same(size, 1)]
    sizes = graph.sizes([after[axis] for axis in order])
    return Tensor(graph.node("Reshape", graph.named(x), sizes), tuple(after), tuple(order))


def _reduce(operation: str) -> Rule:
    def rule(graph: Graph, equation: Equation, operands: list[Tensor]) -> Tensor:
        axes = equation.params["axes"]
        x = graph.full(operands[0], equation.invars[0].aval.shape)
        places = np.array(sorted(x.position(axis) for axis in axes), np.int64)
        kept = [axis for axis in range(len(x.shape)) if axis not in axes]
        order = tuple(kept.index(axis) for axis in x.order if axis in kept)
        y = graph.node(operation, graph.named(x), places, keepdims=0)
        return Tensor(y, equation.outvars[0].aval.shape, order)

    return rule


def _concatenate(graph: Graph, equation: Equation, operands: list[Tensor]) -> Tensor:
    full = [graph.full(x, v.aval.shape) for x, v in zip(operands, equation.invars, strict=True)]
    order = next((x.order for x in full if not x.known), full[0].order)
    axis = order.index(equation.params["dimension"])
    y = graph.node("Concat", *(graph.named(x, order) for x in full), axis=axis)
    return Tensor(y, equation.outvars[0].aval.shape, order)


def _cut(
    graph: Graph, x: Tensor, starts: Sequence[Dim], shape: Sequence[Dim], steps: Sequence[int] = ()
) -> Tensor:
    """Part of a tensor: `shape` of it from `starts` on."""
    steps = steps or [1] * len(shape)
    changed = [
        axis
        for axis, size in enumerate(shape)
        if not same(size, x.shape[axis]) or not same(starts[axis], 0)
    ]
    if not changed:
        return x
    ends = [starts[axis] + (shape[axis] - 1) * steps[axis] + 1 for axis in changed]
    y = graph.node(
        "Slice",
        graph.named(x),
        graph.sizes([starts[axis] for axis in changed]),
        graph.sizes(ends),
        np.array([x.position(axis) for axis in changed], np.int64),
        np.array([steps[axis] for axis in changed], np.int64),
    )
    return Tensor(y, tuple(shape), x.order)


def _slice(graph: Graph, equation: Equation, operands: list[Tensor]) -> Tensor:
    x = graph.full(operands[0], equation.invars[0].aval.shape)
    starts, steps = equation.params["start_indices"], equation.params["strides"]
    return _cut(graph, x, starts, equation.outvars[0].aval.shape, steps or ())


def _dynamic_slice(graph: Graph, equation: Equation, operands: list[Tensor]) -> Tensor:
    x = graph.full(operands[0], equation.invars[0].aval.shape)
    if not all(each.known for each in operands[1:]):
        raise ValueError("a slice whose place depends on the image, of which ONNX is not given")
    sizes = equation.params["slice_sizes"]
    limits = [side - size for side, size in zip(x.shape, sizes, strict=True)]
    starts = [
        min(max(int(each.array), 0), limit) if is_static(limit) else int(each.array)
        for each, limit in zip(operands[1:], limits, strict=True)
    ]
    return _cut(graph, x, starts, sizes)


def _gather(graph: Graph, equation: Equation, operands: list[Tensor]) -> Tensor:
    """Indexing by known numbers, as of `x[:, 0]` where sizes are free."""
    x, indices = operands
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    single = indices.known and indices.array.ndim == 1 and not numbers.operand_batching_dims
    if not single or len(numbers.offset_dims) != len(equation.outvars[0].aval.shape):
        raise ValueError("an indexing by arrays, of which ONNX is not given a form")
    x = graph.full(x, equation.invars[0].aval.shape)
    starts: list[Dim] = [0] * len(x.shape)
    for axis, index in zip(numbers.start_index_map, indices.array.tolist(), strict=True):
        starts[axis] = index
    x = _cut(graph, x, starts, sizes)
    gone = numbers.collapsed_slice_dims
    kept = [axis for axis in range(len(x.shape)) if axis not in gone]
    places = np.array(sorted(x.position(axis) for axis in gone), np.int64)
    order = tuple(kept.index(axis) for axis in x.order if axis in kept)
    y = graph.node("Squeeze", graph.named(x), places)
    return Tensor(y, equation.outvars[0].aval.shape, order)


def _pad(graph: Graph, equation: Equation, operands: list[Tensor]) -> Tensor:
    x = graph.full(operands[0], equation.invars[0].aval.shape)
    sides = equation.params["padding_config"]
    if any(inner for _, _, inner in sides):
        raise ValueError("a padding between values, of which ONNX is not given a form")
    starts = [max(0, -low) for low, _, _ in sides]
    cut = [
        size - start - max(0, -high)
        for size, start, (_, high, _) in zip(x.shape, starts, sides, strict=True)
    ]
    x = _cut(graph, x, starts, cut)
    around = [[max(0, low), max(0, high)] for low, high, _ in sides]
    if np.any(around):
        pads = np.array([around[axis] for axis in x.order], np.int64).T.ravel()
        y = graph.node("Pad", graph.named(x), pads, graph.named(operands[1]))
        x = Tensor(y, equation.outvars[0].aval.shape, x.order)
    return x


def _max_pool(graph: Graph, equation: Equation, operands: list[Tensor]) -> Tensor:
    parameters = equation.params
    window, strides = parameters["window_dimensions"], parameters["window_strides"]
    spatial = [axis for axis, size in enumerate(window) if size != 1]
    if len(window) != 4 or not set(spatial) <= {1, 2} or set(parameters["base_dilation"]) != {1}:
        raise ValueError("a maximum over windows that are not pixels, of which ONNX has no form")
    pads = np.array([parameters["padding"][axis] for axis in (1, 2)]).T.ravel().tolist()
    x = graph.full(operands[0], equation.invars[0].aval.shape)
    y = graph.node(
        "MaxPool",
        graph.named(x, (0, 3, 1, 2)),
        kernel_shape=list(window[1:3]),
        strides=list(strides[1:3]),
        pads=pads,
        dilations=list(parameters["window_dilation"][1:3]),
    )
    return Tensor(y, equation.outvars[0].aval.shape, (0, 3, 1, 2))


def _dim_as_value(graph: Graph, equation: Equation, operands: list[Tensor]) -> Tensor:
    length = graph.node("Squeeze", graph.length(equation.params["dim"]), np.array([0], np.int64))
    dtype = onnx_dtype(equation.outvars[0].aval.dtype)
    return Tensor(graph.node("Cast", length, to=dtype), (), ())


RULES: dict[str, Rule] = {
    "conv_general_dilated": _conv,
    "dot_general": _dot,
    "broadcast_in_dim": _broadcast_in_dim,
    "squeeze": _squeeze,
    "transpose": _transpose,
    "reshape": _reshape,
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_max": _reduce("ReduceMax"),
    "concatenate": _concatenate,
    "slice": _slice,
    "dynamic_slice": _dynamic_slice,
    "gather": _gather,
    "pad": _pad,
    "reduce_window_max": _max_pool,
    "dim_as_value": _dim_as_value,
}
