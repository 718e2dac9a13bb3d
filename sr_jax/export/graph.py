"""An ONNX graph under construction: tensors whose axes may lie in another order than JAX's.

JAX's images are NHWC, those of ONNX's convolutions NCHW. So a tensor here knows the order in which
its axes lie. Transposes are made where an operation needs another order, and mostly none does.
"""

import ast
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_ARITHMETIC = {"Add": "Add", "Sub": "Sub", "Mult": "Mul", "Pow": "Pow"}
_FUNCTIONS = {"floordiv": "Div", "mod": "Mod", "max": "Max", "min": "Min"}

Dim = Any  # an int, or an expression of jax.export.symbolic_shape


class Tensor(NamedTuple):
    """What an array of JAX is in the graph.

    Attributes:
        data: the name of a tensor of the graph; an array for what is known when exporting.
        shape: its axes in JAX's order; 1 also for those along which all values are the same.
        order: `data` holds axis `order[k]` as its k-th.
    """

    data: str | np.ndarray
    shape: tuple[Dim, ...]
    order: tuple[int, ...]

    @property
    def known(self) -> bool:
        """Whether the values are known."""
        return not isinstance(self.data, str)

    @property
    def array(self) -> np.ndarray:
        """The known values, axes in JAX's order."""
        return np.transpose(self.data, np.argsort(self.order))

    def position(self, axis: int) -> int:
        """Where `data` holds an axis."""
        return self.order.index(axis)


def constant(array: Any) -> Tensor:
    """A tensor of known values."""
    array = np.asarray(array)
    return Tensor(array, array.shape, tuple(range(array.ndim)))


class Graph:
    """Nodes and constants by name; equal ones are kept once.

    Attributes:
        nodes: (operation, names of inputs, name of the output, attributes), in their order.
        constants: array by name.
    """

    def __init__(self, image: str, sizes: Sequence[Dim]) -> None:
        """A graph without nodes.

        Args:
            image: the name of its only input.
            sizes: of its axes, in the order in which they lie.
        """
        self.nodes: list[tuple[str, tuple[str, ...], str, dict[str, Any]]] = []
        self.constants: dict[str, np.ndarray] = {}
        self._made: dict[Any, str] = {}
        self._origins: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._image = image
        self._free = {str(size): k for k, size in enumerate(sizes) if not is_static(size)}

    def node(self, operation: str, *inputs: "str | np.ndarray", **attributes: Any) -> str:
        """The name of an operation's result."""
        names = tuple(each if isinstance(each, str) else self.keep(each) for each in inputs)
        key = (operation, names, repr(sorted(attributes.items())))
        if key not in self._made:
            self._made[key] = f"{operation.lower()}_{len(self.nodes)}"
            self.nodes.append((operation, names, self._made[key], attributes))
            self._origins[self._made[key]] = operation, names
        return self._made[key]

    def keep(self, array: np.ndarray) -> str:
        """The name of a constant."""
        array = np.asarray(array, order="C")
        digest = hashlib.sha256(array.tobytes()).digest()
        key = (array.dtype.str, array.shape, digest)
        if key not in self._made:
            self._made[key] = f"constant_{len(self.constants)}"
            self.constants[self._made[key]] = array
        return self._made[key]

    def is_zero(self, name: str) -> bool:
        """Whether it is a constant without other values than 0."""
        return name in self.constants and not self.constants[name].any()

    def slope(self, which: str, below: str, above: str) -> str | None:
        """The slope of a PReLU, max(x, 0) + slope * min(x, 0), that is written as a choice."""
        match self._origins.get(which), self._origins.get(below):
            case ("Greater", (x, threshold)), ("Mul", factors):
                slopes = set(factors) & set(self.constants)
                if x == above and x in factors and self.is_zero(threshold) and slopes:
                    return slopes.pop()
        return None

    def needed(self, output: str) -> None:
        """Drops the nodes and constants on which this output does not depend."""
        wanted, kept = {output}, []
        for node in reversed(self.nodes):
            if node[2] in wanted:
                wanted.update(node[1])
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = {name: a for name, a in self.constants.items() if name in wanted}

    def length(self, size: Dim) -> "str | np.ndarray":
        """The length of an axis, int64 of shape (1,)."""
        if is_static(size):
            return np.array([size], np.int64)
        return self._evaluate(ast.parse(str(size), mode="eval").body)

    def sizes(self, shape: Sequence[Dim]) -> "str | np.ndarray":
        """A shape as an int64 tensor."""
        if all(map(is_static, shape)):
            return np.array(shape, np.int64)
        return self.node("Concat", *map(self.length, shape), axis=0)

    def _evaluate(self, expression: ast.expr) -> "str | np.ndarray":
        """An expression over the image's free sizes, as jax prints it."""
        match expression:
            case ast.Constant(value=int(value)):
                return np.array([value], np.int64)
            case ast.Name(id=name):
                start = self._free[name]
                return self.node("Shape", self._image, start=start, end=start + 1)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.node("Neg", self._evaluate(operand))
            case ast.BinOp(left=left, op=op, right=right):
                operation = _ARITHMETIC[type(op).__name__]
                return self.node(operation, self._evaluate(left), self._evaluate(right))
            case ast.Call(func=ast.Name(id=function), args=arguments):
                # All are positive, so that Div's rounding towards zero is the floor.
                return self.node(_FUNCTIONS[function], *map(self._evaluate, arguments))
        raise ValueError(f"a length {ast.unparse(expression)}, which ONNX is not given")

    def named(self, tensor: Tensor, order: Sequence[int] | None = None) -> str:
        """The tensor's name in the graph, its axes in an order, or as they are."""
        order = tensor.order if order is None else tuple(order)
        if tensor.known:
            return self.keep(np.transpose(tensor.array, order))
        if order == tensor.order:
            return str(tensor.data)
        return self.node("Transpose", tensor.data, perm=[tensor.position(axis) for axis in order])

    def ordered(self, tensor: Tensor, order: Sequence[int]) -> Tensor:
        """The same tensor with its axes in an order."""
        order = tuple(order)
        if tensor.known:
            return Tensor(np.transpose(tensor.array, order), tensor.shape, order)
        return Tensor(self.named(tensor, order), tensor.shape, order)

    def full(self, tensor: Tensor, shape: Sequence[Dim]) -> Tensor:
        """The same tensor with every axis at its length."""
        if all(map(same, tensor.shape, shape)):
            return tensor
        if tensor.known and all(map(is_static, shape)):
            return constant(np.broadcast_to(tensor.array, tuple(shape)))
        sizes = self.sizes([shape[axis] for axis in tensor.order])
        return Tensor(self.node("Expand", self.named(tensor), sizes), tuple(shape), tensor.order)


def is_static(size: Dim) -> bool:
    """Whether a length is a number."""
    return isinstance(size, int | np.integer)


def same(a: Dim, b: Dim) -> bool:
    """Whether two lengths are the same for all images."""
    return bool(a == b)


def groups(before: Sequence[Dim], after: Sequence[Dim]) -> list[tuple[list[int], list[int]]]:
    """The axes of a shape, and those that a reshape makes of them, in the smallest groups.

    >>> groups((5, 12, 7), (5, 3, 4, 7))
    [([0], [0]), ([1], [1, 2]), ([2], [3])]
    >>> groups((2, 3, 1, 5), (6, 1, 5))
    [([0, 1], [0]), ([3], [2])]

    Axes of length 1 are in none.
    """
    left = [k for k, size in enumerate(before) if not same(size, 1)]
    right = [k for k, size in enumerate(after) if not same(size, 1)]
    found = []
    while left:
        ours, theirs = [left.pop(0)], [right.pop(0)]
        a, b = before[ours[0]], after[theirs[0]]
        while not same(a, b):
            if _divides(a, b):
                ours.append(left.pop(0))
                a = a * before[ours[-1]]
            else:
                theirs.append(right.pop(0))
                b = b * after[theirs[-1]]
        found.append((ours, theirs))
    return found


def _divides(a: Dim, b: Dim) -> bool:
    if is_static(a) and is_static(b):
        return bool(a < b)
    return same(b // a * a, b)
