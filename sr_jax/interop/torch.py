"""PyTorch state dicts to our variables and back, for every network and name layout of the field.

Nothing is loaded partially: a state dict fits its network tensor by tensor or is refused with one
error. State dicts here are dicts of NumPy arrays; PyTorch itself is not needed.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from sr_jax.interop.fields import Fields, StateDict
from sr_jax.interop.layouts import LAYOUTS, Tensor, tensors
from sr_jax.models import ARCHITECTURES, Variables, count_parameters, create_model, describe_model
from sr_jax.models.network import Network
from sr_jax.models.vdsr import VDSR
from sr_jax.weights import check_variables

# Entries of training checkpoints that hold the state dict, the preferred one first: BasicSR's
# params_ema is the moving average that its results are published with.
WRAPPERS = ("params_ema", "params", "state_dict", "model")
# What DataParallel and classes around a network put before every name.
PREFIXES = ("module.", "model.")


class Conversion(NamedTuple):
    """A converted checkpoint and how its hyper-parameters became known.

    Attributes:
        model, variables: the network.
        layout: the name of the layout, for `to_torch`.
        read: hyper-parameters that the names and shapes show.
        assumed: those that they do not show, set by the rules of `from_torch`.
        wrappers: what was taken off: entries of a checkpoint, prefixes of names.
    """

    model: Network
    variables: Variables
    layout: str
    read: Fields
    assumed: Fields
    wrappers: tuple[str, ...]

    def describe(self) -> str:
        """The architecture and where its hyper-parameters come from, in one line."""
        name, fields = describe_model(self.model)
        given = {k: v for k, v in fields.items() if k not in self.read and k not in self.assumed}
        parts = [f"{name}, {count_parameters(self.variables):,} parameters, {self.layout}'s names"]
        sources = {"read off": self.read, "assumed": self.assumed, "given or default": given}
        for source, found in sources.items():
            if found:
                parts.append(f"{source}: {', '.join(f'{k}={v}' for k, v in found.items())}")
        if self.wrappers:
            parts.append(f"taken out of {', '.join(self.wrappers)}")
        return "; ".join(parts)


def from_torch(
    state_dict: Mapping[str, Any], architecture: str | None = None, **hyperparameters: Any
) -> tuple[Network, Variables]:
    """Makes a network and its variables of a PyTorch state dict.

    The architecture is recognised by the names; widths, depths, kernel sizes, scale and biases are
    read off the shapes. What a checkpoint cannot tell is assumed: `res_scale` is 0.1 if `n_feats`
    is 256, else 1; `rgb_range` is what `sub_mean.bias` was made for, 1 if there is none; SRCNN's
    `scale` is unknown and its padding 'zeros'; MDSR's `scales` are (2, 3, 4). All of it is logged.

    Args:
        state_dict: names to arrays, in any layout of `sr_jax.interop.layouts`. It may be nested in
            an entry params_ema, params, state_dict or model (the first of these is taken), and all
            names may begin with `module.` or `model.`. VGG's classifier is left aside.
        architecture: a name of `sr_jax.models.ARCHITECTURES`, to refuse the tensors of any other
            class of network. Sizes are read off all the same.
        **hyperparameters: fields of the network; they override what is read off or assumed.

    Returns:
        (model, variables), float32 but for `num_batches_tracked`.

    Raises:
        ValueError: unknown or contradicted architecture, unknown hyper-parameter, or tensors that
            are missing, unexpected, of another shape or not numbers (all are listed).
    """
    conversion = convert(state_dict, architecture, **hyperparameters)
    logging.getLogger(__name__).info("%s", conversion.describe())
    return conversion.model, conversion.variables


def convert(
    state_dict: Mapping[str, Any], architecture: str | None = None, **hyperparameters: Any
) -> Conversion:
    """As `from_torch`, with an account of how the hyper-parameters became known."""
    weights, wrappers = unwrap(state_dict)
    network, name = _detect(weights, architecture)
    layout = LAYOUTS[network][name]
    weights = {key: v for key, v in weights.items() if not re.fullmatch(layout.ignored, key)}
    read, assumed = layout.fields(weights)
    read, assumed = (
        {field: value for field, value in fields.items() if field not in hyperparameters}
        for fields in (read, assumed)
    )
    model = create_model(
        architecture or _names(network)[0], **{**assumed, **read, **hyperparameters}
    )
    table = tensors(model, layout)
    _check(describe_model(model)[0], table, weights)
    return Conversion(model, _gather(table, weights), name, read, assumed, wrappers)


def to_torch(
    model: Network, variables: Variables, *, layout: str | None = None
) -> dict[str, np.ndarray]:
    """Makes the state dict of a network, in names, shapes and order that of the published code.

    Args:
        model: the network.
        variables: its variables, all collections.
        layout: whose names: 'yjn870' (also mmagic's) or 'lornatang' for SRCNN; 'twtygqyy', 'edsr'
            or 'lornatang' for VDSR; other networks have one. The default is the first, for a VDSR
            with biases 'edsr'.

    Returns:
        Names to arrays; constants included, `num_batches_tracked` as int64.

    Raises:
        ValueError: unknown layout, or variables that are not the network's.
    """
    known = LAYOUTS[type(model)]
    if layout is None:
        biased_vdsr = isinstance(model, VDSR) and model.use_bias
        layout = "edsr" if biased_vdsr else next(iter(known))
    if layout not in known:
        name, _ = describe_model(model)
        raise ValueError(f"{name} has no layout {layout!r}; known are {', '.join(known)}")
    flat = flax.traverse_util.flatten_dict(dict(variables), sep="/")
    arrays = {path: np.asarray(value) for path, value in jax.device_get(flat).items()}
    check_variables("the given set of variables", model, arrays)
    state_dict = {}
    for tensor in tensors(model, known[layout]):
        value = arrays[tensor.path][tensor.at]
        if tensor.axes:
            value = value.transpose(np.argsort(tensor.axes))
        dtype = np.int64 if tensor.integer else value.dtype
        state_dict[tensor.name] = np.array(value, dtype, order="C")
    return state_dict


def recognise(state_dict: Mapping[str, Any], architecture: str | None = None) -> type[Network]:
    """The class of the network whose tensors these are; arguments and errors as `from_torch`."""
    return _detect(unwrap(state_dict)[0], architecture)[0]


def unwrap(state_dict: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Takes a state dict out of a training checkpoint and common prefixes off its names.

    Returns:
        The state dict and what was taken off, the outermost first.

    Raises:
        ValueError: entries that are not tensors.
    """
    inner: Mapping[str, Any] = state_dict
    taken = []
    while True:
        wrapper = next((key for key in WRAPPERS if isinstance(inner.get(key), Mapping)), None)
        prefix = next(
            (p for p in PREFIXES if inner and all(str(n).startswith(p) for n in inner)), None
        )
        if wrapper is not None:
            inner = inner[wrapper]
        elif prefix is not None:
            inner = {name.removeprefix(prefix): value for name, value in inner.items()}
        else:
            break
        taken.append(wrapper or prefix or "")
    strange = [name for name, value in inner.items() if not hasattr(value, "shape")]
    if strange or not inner:
        raise ValueError(
            "this is not a state dict (names to tensors), nor a checkpoint with an entry "
            f"{', '.join(WRAPPERS)}: "
            + (f"{', '.join(map(str, strange))} hold no tensors" if strange else "it is empty")
        )
    return {name: np.asarray(value) for name, value in inner.items()}, tuple(taken)


def _names(network: type[Network]) -> list[str]:
    return [name for name, (module, _) in ARCHITECTURES.items() if module is network]


def _detect(weights: StateDict, architecture: str | None) -> tuple[type[Network], str]:
    """The network and the layout whose names a state dict has."""
    if architecture is not None and architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ValueError(f"unknown architecture {architecture!r}; known are {known}")
    asked = None if architecture is None else ARCHITECTURES[architecture][0]
    for network, layouts in LAYOUTS.items():
        for name, layout in layouts.items():
            if any(re.fullmatch(layout.marker, key) for key in weights):
                if asked not in (None, network):
                    raise ValueError(
                        f"asked for {architecture}, but these are tensors of {_names(network)[0]}"
                    )
                return network, name
    if asked is None:
        some = ", ".join(list(weights)[:5])
        raise ValueError(f"no known network has tensors of these names: {some}, ...")
    return asked, next(iter(LAYOUTS[asked]))


def _check(name: str, table: list[Tensor], weights: StateDict) -> None:
    """Raises one ValueError that lists all tensors that do not fit."""
    expected = {tensor.name: tensor for tensor in table}
    problems = [f"missing {key}" for key in expected if key not in weights]
    problems += [f"unexpected {key}" for key in weights if key not in expected]
    for key, tensor in expected.items():
        if key in weights and weights[key].shape != tensor.shape:
            problems.append(f"{key} has shape {weights[key].shape}, expected {tensor.shape}")
        elif key in weights and not _numbers(weights[key], tensor.integer):
            problems.append(f"{key} has dtype {weights[key].dtype}")
    if problems:
        raise ValueError(f"the tensors do not fit the network {name}: {'; '.join(problems)}")


def _numbers(value: np.ndarray, integer: bool) -> bool:
    # jax's, because NumPy's does not count bfloat16
    return jnp.issubdtype(value.dtype, jnp.integer if integer else jnp.floating)


def _gather(table: list[Tensor], weights: StateDict) -> dict[str, Any]:
    """Our variables, stacked and transposed."""
    flat: dict[str, np.ndarray] = {}
    for tensor in table:
        value = weights[tensor.name]
        if tensor.axes:
            value = value.transpose(tensor.axes)
        if tensor.path not in flat:
            flat[tensor.path] = np.empty(tensor.ours, np.int32 if tensor.integer else np.float32)
        flat[tensor.path][tensor.at] = value
    return flax.traverse_util.unflatten_dict(
        {path: jnp.asarray(value) for path, value in flat.items()}, sep="/"
    )
