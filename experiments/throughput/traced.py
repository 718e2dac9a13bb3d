"""Digests of the programs that a folder's code traces; `unchanged.py` runs this with it.

Each line of the input is a cell's key as JSON, and each of the output its digest. Code of other
commits is imported here, so this names only what all of them have.
"""

import contextlib
import hashlib
import json
import sys
from collections.abc import Sequence
from typing import Any

from jax.stages import Lowered

from experiments.throughput import ours
from experiments.throughput.networks import Cell
from sr_jax.ops.target import compiler_options


def digest(lowered: Lowered) -> str:
    """Of the operations by which a program's results come from its arguments.

    The order of operations that need nothing of one another does not count, nor what functions are
    called.
    """
    functions = {each.attributes["sym_name"].value: each for each in _module(lowered)}
    known: dict[str, str] = {}

    def of_function(name: str) -> str:
        if name not in known:
            function, kept = functions[name], ("function_type", "arg_attrs")
            told = [str(function.attributes[key]) for key in kept if key in function.attributes]
            known[name] = _hash(told, of_block(function.regions[0].blocks[0], {}, 0))
        return known[name]

    def of_block(block: Any, values: dict[Any, str], depth: int) -> str:
        values = dict(values)
        for number, argument in enumerate(block.arguments):
            values[argument] = _hash("argument", depth, number, str(argument.type))
        for operation in block.operations:
            last = of_operation(operation.operation, values, depth)
            values |= {result: _hash(last, n) for n, result in enumerate(operation.results)}
        return last  # which returns the block's results

    def of_operation(operation: Any, values: dict[Any, str], depth: int) -> str:
        attributes = {name: str(operation.attributes[name]) for name in operation.attributes}
        if operation.name == "func.call":
            attributes = {"callee": of_function(operation.attributes["callee"].value)}
        blocks = [block for region in operation.regions for block in region.blocks]
        return _hash(
            operation.name,
            sorted(attributes.items()),
            [of_block(block, values, depth + 1) for block in blocks],
            [values[operand] for operand in operation.operands],
            [str(result.type) for result in operation.results],
        )

    return of_function("main")


def _module(lowered: Lowered) -> Sequence[Any]:
    return lowered.compiler_ir("stablehlo").body.operations  # type: ignore[no-any-return]


def _hash(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def main() -> None:
    """See the module."""
    options = sorted(compiler_options().items())

    def tell(lowered: Lowered, *_: Any, **__: Any) -> None:
        print(_hash(options, digest(lowered)), flush=True)
        raise SystemExit

    Lowered.compile = tell  # type: ignore[method-assign,assignment]
    for line in sys.stdin:
        key = json.loads(line)
        with contextlib.suppress(SystemExit):
            ours.temporary_bytes(Cell(**key | {"size": tuple(key["size"])}))


if __name__ == "__main__":
    main()
