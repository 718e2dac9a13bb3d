"""Reads an optimised HLO module: the kernels it runs, how often, and which only move data.

The text is what `jax.stages.Compiled.as_text()` returns. Only its form is relied on: computations
in braces, one instruction a line, loops with their `known_trip_count`.
"""

import collections
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# Instructions that run nothing on the device.
_FREE = frozenset(
    [
        "parameter",
        "constant",
        "tuple",
        "get-tuple-element",
        "bitcast",
        "after-all",
        "partition-id",
        "replica-id",
        "iota",
        "opt-barrier",
        "async-update",
        "domain",
        "get-dimension-size",
    ]
)
# Of a fusion that only moves data, every instruction is one of these.
_MOVES = _FREE | frozenset(
    [
        "copy",
        "transpose",
        "reshape",
        "convert",
        "pad",
        "slice",
        "concatenate",
        "broadcast",
        "dynamic-slice",
        "dynamic-update-slice",
        "reverse",
    ]
)
# What the index arithmetic of a slice in a loop is made of.
_SCALAR = frozenset(
    ["add", "subtract", "multiply", "compare", "select", "clamp", "minimum", "maximum", "and", "or"]
)
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
_SHAPE = re.compile(r"\b(pred|[subf]f?\d+(?:e\dm\d\w*)?)\[([\d,]*)\]")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (\([^=]*?\)|\S+) ([\w\-]+)\(")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_CALLED = re.compile(r"(?:calls|body|to_apply|branch_computations)=\{?%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
        name, opcode: as written.
        shape: of the result, as written.
        text: the whole line.
    """

    name: str
    opcode: str
    shape: str
    text: str

    @property
    def bytes(self) -> int:
        """What the result takes."""
        return size_in_bytes(self.shape)

    def attribute(self, pattern: str) -> str | None:
        """The first group of a pattern, where the line has it."""
        found = re.search(pattern, self.text)
        return found.group(1) if found else None


@dataclass
class Program:
    """A module, its computations by name.

    Attributes:
        computations: name -> instructions.
        entry: the name of the one that is run.
    """

    computations: dict[str, list[Instruction]] = field(default_factory=dict)
    entry: str = ""

    def kernels(self) -> Iterator[tuple[Instruction, int]]:
        """Every instruction that the device runs, with how many times one run of the program does.

        Bodies of loops count their iterations; of a conditional the first branch counts.
        """
        yield from self._kernels(self.entry, 1)

    def loops(self) -> list[int]:
        """The iterations of every loop in one run of the program, the outermost first."""
        return list(self._loops(self.entry, 1))

    def moves_only(self, kernel: Instruction) -> bool:
        """Whether a kernel does nothing but copy, cast, pad, slice or transpose."""
        if kernel.opcode in ("copy", "transpose"):
            return True
        if kernel.opcode != "fusion":
            return False
        body = self._fused(kernel)
        opcodes = {line.opcode for line in body}
        # A fill is no copy, and what indexes are computed with are scalars.
        arithmetic = [line for line in body if line.opcode not in _MOVES]
        scalar = all(line.opcode in _SCALAR and "[]" in line.shape for line in arithmetic)
        reads = any(line.opcode == "parameter" and "[]" not in line.shape for line in body)
        return scalar and reads and bool(opcodes - _FREE)

    def convolutions_in(self, kernel: Instruction) -> int:
        """The convolutions of a fusion."""
        if kernel.opcode != "fusion":
            return 0
        return sum(
            line.opcode == "convolution" or self.convolutions_in(line)
            for line in self._fused(kernel)
        )

    def _trips(self, loop: Instruction) -> int:
        """The iterations of a loop: what XLA says, else what its counter is compared with."""
        if trips := _TRIPS.search(loop.text):
            return int(trips.group(1))
        condition = loop.attribute(r"condition=%?([\w.\-]+)")
        bounds = [
            line.attribute(r"constant\((\d+)\)")
            for line in self.computations.get(condition or "", [])
            if line.opcode == "constant"
        ]
        if len(bounds) != 1 or bounds[0] is None:
            raise ValueError(f"a loop of unknown length: {loop.text.strip()[:200]}")
        return int(bounds[0])

    def _fused(self, kernel: Instruction) -> list[Instruction]:
        called = _CALLED.search(kernel.text)
        return self.computations.get(called.group(1), []) if called else []

    def _kernels(self, name: str, times: int) -> Iterator[tuple[Instruction, int]]:
        for line in self.computations[name]:
            if line.opcode == "while":
                yield from self._kernels(_body(line), times * self._trips(line))
            elif line.opcode in ("call", "conditional"):
                called = _CALLED.search(line.text)
                if called:
                    yield from self._kernels(called.group(1), times)
            elif line.opcode not in _FREE and not _is_beside(line.opcode):
                yield line, times

    def _loops(self, name: str, times: int) -> Iterator[int]:
        for line in self.computations[name]:
            if line.opcode == "while":
                yield times * self._trips(line)
                yield from self._loops(_body(line), times * self._trips(line))
            elif line.opcode == "call" and (called := _CALLED.search(line.text)):
                yield from self._loops(called.group(1), times)


def parse(text: str) -> Program:
    """Reads a module.

    Raises:
        ValueError: it has no entry computation.
    """
    program, lines = Program(), None
    for line in re.sub(r"/\*.*?\*/", "", text).splitlines():
        if lines is None:
            if head := _COMPUTATION.match(line):
                lines = program.computations.setdefault(head.group(2), [])
                if head.group(1):
                    program.entry = head.group(2)
        elif line.startswith("}"):
            lines = None
        elif found := _INSTRUCTION.match(line):
            lines.append(Instruction(found.group(1), found.group(3), found.group(2), line))
    if not program.entry:
        raise ValueError("this is no HLO module: it has no entry computation")
    return program


def size_in_bytes(shape: str) -> int:
    """The bytes of a shape as HLO writes it, of a tuple all of them.

    >>> size_in_bytes("(f32[2,3]{1,0}, bf16[4], pred[])")
    33
    """
    total = 0
    for kind, sides in _SHAPE.findall(shape):
        bits = 8 if kind == "pred" else int(re.findall(r"\d+", kind)[0])
        total += math.prod(int(side) for side in sides.split(",") if side) * bits // 8
    return total


@dataclass
class Counts:
    """What one run of a program does on the device.

    Attributes:
        convolutions: kind -> calls of cuDNN: 'fused' (with a bias), 'fused with ReLU', 'forward'
            (alone), 'input gradient', 'weight gradient'; 'generic' where no library is called, or
            'in fusions', as a TPU runs them.
        products: calls of matrix products.
        moves: kernels that only move at least `ACTIVATION` bytes; `moved_bytes` of results.
        others: all other kernels.
        collectives: kind -> (number, bytes), of programs for several chips.
        loops: iterations of each loop.
        cycles: what XLA estimates, where it does (TPU).
    """

    convolutions: collections.Counter[str]
    products: int
    moves: int
    moved_bytes: int
    others: int
    collectives: dict[str, list[int]]
    loops: list[int]
    cycles: int

    @property
    def kernels(self) -> int:
        """All of them together."""
        return self.convolutions.total() + self.products + self.moves + self.others


# Bytes from which on a result is an activation and no parameter: kernels of 3x3x256x256 have 2.4 MB
# in float32, feature maps of a batch 5 MB and more.
ACTIVATION = 2_500_000

_CUDNN = {
    "__cudnn$convBiasActivationForward": "fused",
    "__cudnn$convForward": "forward",
    "__cudnn$convBackwardInput": "input gradient",
    "__cudnn$convBackwardFilter": "weight gradient",
    "__cudnn$convForwardGraph": "fused",
}


def count(program: Program) -> Counts:
    """Counts what one run does."""
    found = Counts(collections.Counter(), 0, 0, 0, 0, {}, program.loops(), 0)
    for line, times in program.kernels():
        target = line.attribute(r'custom_call_target="([^"]+)"') or ""
        collective = next((c for c in COLLECTIVES if line.opcode.startswith(c)), None)
        found.cycles += times * int(line.attribute(r'"estimated_cycles":"(\d+)"') or 0)
        if target in _CUDNN:
            kind = _CUDNN[target]
            if kind == "fused" and '"activation_mode":"kRelu"' in line.text:
                kind = "fused with ReLU"
            found.convolutions[kind] += times
        elif line.opcode == "convolution":
            found.convolutions["generic"] += times
        elif inside := program.convolutions_in(line):  # a TPU's are fused with what follows
            found.convolutions["in fusions"] += times * inside
        elif collective:
            total = found.collectives.setdefault(collective, [0, 0])
            total[0] += times
            total[1] += times * line.bytes
        elif "cublas" in target or line.opcode == "dot" or "gemm_fusion" in line.name:
            found.products += times
        elif program.moves_only(line) and line.bytes >= ACTIVATION:
            found.moves += times
            found.moved_bytes += times * line.bytes
        else:
            found.others += times
    return found


def _is_beside(opcode: str) -> bool:
    """Ends of what runs beside the kernels, and what a TPU fetches from its memory meanwhile."""
    return opcode.endswith("-done") or (
        opcode.endswith("-start") and not opcode.startswith(COLLECTIVES)
    )


def _body(line: Instruction) -> str:
    body = line.attribute(r"body=%?([\w.\-]+)")
    if body is None:
        raise ValueError(f"a loop without a body: {line.text.strip()[:200]}")
    return body
