"""Types and ranges of hyper-parameters, which come from configs, command lines and files."""

import dataclasses
import math
import types
import typing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sr_jax.models.network import Network

# A file may claim anything, and what it claims is computed with.
_LARGEST = 2**16
_POSITIVE = ("rgb_range", "bn_epsilon", "res_scale")  # divisors, and a factor that 0 would end


def check(network: "type[Network]", values: dict[str, Any]) -> dict[str, Any]:
    """The values of fields, lists as tuples.

    Integers are from 1 on where their default is (numbers of layers, channels, pixels); all numbers
    are finite.

    Args:
        network: the class whose annotations say the types.
        values: field -> value; all are fields of the class.

    Raises:
        ValueError: a value of another type or out of range.
    """
    hints = typing.get_type_hints(network)
    defaults = {field.name: field.default for field in dataclasses.fields(network)}
    checked = {}
    for name, value in values.items():
        default = defaults[name]
        least = -_LARGEST if isinstance(default, int) and default < 1 else 1
        try:
            checked[name] = _checked(hints[name], value, least)
            if name in _POSITIVE and checked[name] <= 0:
                raise ValueError("a positive number")
            if name == "n_colors" and checked[name] not in (1, 3):
                raise ValueError("1 (luma) or 3 (RGB)")
        except ValueError as error:
            raise ValueError(
                f"{network.__name__}'s {name} is {value!r}, expected {error}"
            ) from None
    return checked


def _checked(hint: Any, value: Any, least: int) -> Any:
    """The value, or a ValueError that says what was expected."""
    options = typing.get_args(hint)
    if isinstance(hint, types.UnionType):
        if value is None and type(None) in options:
            return None
        (hint,) = (option for option in options if option is not type(None))
        return _checked(hint, value, least)
    if typing.get_origin(hint) is tuple:
        repeated = options[-1] is Ellipsis
        expected = "a list of " + ("integers" if options[0] is int else "numbers")
        if not isinstance(value, list | tuple) or not value:
            raise ValueError(expected)
        if not repeated and len(value) != len(options):
            raise ValueError(f"{expected}, {len(options)} of them")
        return tuple(_checked(options[0], item, least) for item in value)
    if hint is bool:
        if not isinstance(value, bool):
            raise ValueError("true or false")
    elif hint is int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _LARGEST:
            raise ValueError(f"an integer from {least} to {_LARGEST}")
    elif hint is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("a number")
        if not math.isfinite(value):
            raise ValueError("a finite number")
        return float(value)
    elif hint is str and not isinstance(value, str):
        raise ValueError("text")
    return value
