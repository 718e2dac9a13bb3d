"""PyTorch state dicts to our variables and back, for every network and name layout of the field.

Nothing is loaded partially: a state dict fits its network tensor by tensor or is refused with one
error. State dicts here are dicts of NumPy arrays; PyTorch itself is not needed.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from sr_jax.interop import csnln, edsr, mdsr, rcan, san, srcnn, srgan, srresnet, vdsr, vgg
from sr_jax.interop.layout import Fields, Layout, Tensor, Weights, tensors
from sr_jax.models import ARCHITECTURES, Variables, count_parameters, create_model, describe_model
from sr_jax.models.network import Network
from sr_jax.weights import check_variables

# The first layout whose marker a checkpoint has is taken: the order matters where one network's
# names contain another's.
LAYOUTS: tuple[Layout, ...] = (
    *vdsr.LAYOUTS,
    *srresnet.LAYOUTS,
    *srcnn.LAYOUTS,
    *rcan.LAYOUTS,
    *san.LAYOUTS,
    *csnln.LAYOUTS,
    *mdsr.LAYOUTS,
    *edsr.LAYOUTS,
    *srgan.LAYOUTS,
    *vgg.LAYOUTS,
)

# Entries of training checkpoints that hold the state dict, the preferred one first: BasicSR's
# params_ema is the moving average that its results are published with.
WRAPPERS = ("params_ema", "params", "state_dict", "model_state_dict", "model")
# What DataParallel, torch.compile and classes around a network put before its names.
PREFIXES = ("module.", "model.", "_orig_mod.", "generator.", "netG.", "net_g.", "net.")
# What tools that count operations (thop) add to every module.
COUNTERS = re.compile(r"(.*\.)?total_(ops|params)")


class Conversion(NamedTuple):
    """A converted checkpoint and how its hyper-parameters became known.

    Attributes:
        model, variables: the network.
        layout: the name of the layout, for `to_torch`.
        read: hyper-parameters that the names and shapes show.
        assumed: those that they do not show, set by the rules of `from_torch`.
        wrappers: what was taken off: entries of a checkpoint, prefixes of names.
        aside: what was left aside: counters, single values, tensors of other networks.
    """

    model: Network
    variables: Variables
    layout: str
    read: Fields
    assumed: Fields
    wrappers: tuple[str, ...]
    aside: tuple[str, ...] = ()

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
        if self.aside:
            parts.append(f"left aside: {list_some(self.aside)}")
        return "; ".join(parts)


def from_torch(
    state_dict: Mapping[str, Any],
    architecture: str | Layout | None = None,
    **hyperparameters: Any,
) -> tuple[Network, Variables]:
    """Makes a network and its variables of a PyTorch state dict.

    The architecture is recognised by the names; widths, depths, kernel sizes, scale and biases are
    read off the shapes. What a checkpoint cannot tell is assumed: `res_scale` is 0.1 if `n_feats`
    is 256, else 1; `rgb_range` is what `sub_mean.bias` was made for, 1 if there is none; SRCNN's
    `scale` is unknown and its padding 'zeros'; MDSR's `scales` are (2, 3, 4). All of it is logged.

    Args:
        state_dict: names to arrays, in any of `LAYOUTS`. It may be nested in an entry of `WRAPPERS`
            (the first of these is taken), and names may begin with one of `PREFIXES`. VGG's
            classifier, counters of operations and single values are left aside.
        architecture: a name of `sr_jax.models.ARCHITECTURES`, to refuse the tensors of any other
            class of network; or the layout of a network outside this package, see
            `sr_jax.interop.layout`. Sizes are read off all the same.
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
    state_dict: Mapping[str, Any],
    architecture: str | Layout | None = None,
    **hyperparameters: Any,
) -> Conversion:
    """As `from_torch`, with an account of how the hyper-parameters became known."""
    weights, wrappers, aside = unwrap(state_dict)
    layout = _detect(weights, architecture)
    weights = Weights(
        (key, v) for key, v in weights.items() if not re.fullmatch(layout.ignored, key)
    )
    read, assumed = (
        {field: value for field, value in fields.items() if field not in hyperparameters}
        for fields in layout.fields(weights)
    )
    read = {field: value for field, value in read.items() if value is not None}
    name = architecture if isinstance(architecture, str) else _name(layout.network)
    model = create_model(name, **{**assumed, **read, **hyperparameters})
    table = tensors(model, layout)
    _check(describe_model(model)[0], table, weights)
    return Conversion(model, _gather(table, weights), layout.name, read, assumed, wrappers, aside)


def to_torch(
    model: Network, variables: Variables, *, layout: str | Layout | None = None
) -> dict[str, np.ndarray]:
    """Makes the state dict of a network, in names, shapes and order that of the published code.

    Args:
        model: the network.
        variables: its variables, all collections.
        layout: whose names: 'yjn870' (also mmagic's) or 'lornatang' for SRCNN; 'twtygqyy', 'edsr'
            or 'lornatang' for VDSR; 'lornatang' or, for one with tanh, 'leftthomas' for SRResNet;
            other networks have one. The default is the first that has such a network, for a VDSR
            with biases 'edsr'. A network outside this package has only what is passed, see
            `sr_jax.interop.layout`.

    Returns:
        Names to arrays; constants included, `num_batches_tracked` as int64.

    Raises:
        ValueError: unknown layout, one whose code has no such network, or variables that are not
            the network's.
    """
    chosen = _choose(model, layout)
    flat = flax.traverse_util.flatten_dict(dict(variables), sep="/")
    arrays = {path: np.asarray(value) for path, value in jax.device_get(flat).items()}
    check_variables("the given set of variables", model, arrays)
    state_dict = {}
    for tensor in tensors(model, chosen):
        value = arrays[tensor.path][tensor.at]
        if tensor.axes:
            value = value.transpose(np.argsort(tensor.axes))
        dtype = np.int64 if tensor.integer else value.dtype
        state_dict[tensor.name] = np.array(value, dtype, order="C")
    return state_dict


def recognise(
    state_dict: Mapping[str, Any], architecture: str | Layout | None = None
) -> type[Network]:
    """The class of the network whose tensors these are; arguments and errors as `from_torch`."""
    return _detect(unwrap(state_dict)[0], architecture).network


def unwrap(
    state_dict: Mapping[str, Any],
) -> tuple[Weights, tuple[str, ...], tuple[str, ...]]:
    """Takes a state dict out of a training checkpoint and common prefixes off its names.

    Returns:
        The state dict; what was taken off, the outermost first; and what was left aside.

    Raises:
        ValueError: entries that are not tensors.
    """
    inner: Mapping[str, Any] = state_dict
    taken, aside = [], []
    while True:
        wrapper = next((key for key in WRAPPERS if isinstance(inner.get(key), Mapping)), None)
        if wrapper is not None:
            inner = inner[wrapper]
            taken.append(wrapper)
            continue
        inner = {str(name): value for name, value in inner.items()}
        extra = [n for n, value in inner.items() if COUNTERS.fullmatch(n) or _is_single(value)]
        aside += extra
        inner = {name: value for name, value in inner.items() if name not in extra}
        prefix = _prefix(inner)
        if prefix is None:
            break
        aside += [name for name in inner if not name.startswith(prefix)]
        inner = {n.removeprefix(prefix): v for n, v in inner.items() if n.startswith(prefix)}
        taken.append(prefix)
    strange = [name for name, value in inner.items() if not hasattr(value, "shape")]
    if strange or not inner:
        raise ValueError(
            "this is not a state dict (names to tensors), nor a checkpoint with an entry "
            f"{', '.join(WRAPPERS)}: "
            + (f"{', '.join(map(str, strange))} hold no tensors" if strange else "it is empty")
        )
    weights = Weights((name, np.asarray(value)) for name, value in inner.items())
    return weights, tuple(taken), tuple(aside)


def _is_single(value: Any) -> bool:
    """Whether this is a number or a text of a training, no tensor."""
    return value is None or isinstance(value, bool | int | float | str | np.generic)


def _prefix(inner: Mapping[str, Any]) -> str | None:
    """What the names of a network begin with: all, or some where the others are no network's."""
    for prefix in PREFIXES:
        inside = [name for name in inner if name.startswith(prefix)]
        if inside and (len(inside) == len(inner) or not _has_marker(inner)):
            return prefix
    return None


def _has_marker(names: Iterable[str]) -> bool:
    weights = Weights((name, np.empty(0)) for name in names)
    return any(weights.has(layout.marker) for layout in LAYOUTS)


def list_some(names: Sequence[str], most: int = 5) -> str:
    """The first names and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _name(network: type[Network]) -> str | type[Network]:
    """What `create_model` calls a network: its first name, or itself if it has none."""
    return next((name for name, (kind, _) in ARCHITECTURES.items() if kind is network), network)


def _detect(weights: Weights, architecture: str | Layout | None) -> Layout:
    """The layout whose names a state dict has."""
    if isinstance(architecture, Layout):
        return architecture
    if architecture is not None and architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise ValueError(f"unknown architecture {architecture!r}; known are {known}")
    asked = None if architecture is None else ARCHITECTURES[architecture][0]
    for layout in LAYOUTS:
        if weights.has(layout.marker):
            if asked not in (None, layout.network):
                raise ValueError(
                    f"asked for {architecture}, but these are tensors of {_name(layout.network)}"
                )
            return layout
    if asked is None:
        some = ", ".join(list(weights)[:5])
        raise ValueError(f"no known network has tensors of these names: {some}, ...")
    return next(layout for layout in LAYOUTS if layout.network is asked)


def _choose(model: Network, asked: str | Layout | None) -> Layout:
    """The layout in which to write a network."""
    name, _ = describe_model(model)
    known = {found.name: found for found in LAYOUTS if found.network is type(model)}
    if isinstance(asked, Layout):
        if asked.network is not type(model):
            raise ValueError(f"this layout is one of {asked.network.__name__}, given {name}")
        return asked
    if not known:
        raise ValueError(f"{name} has no layout of PyTorch names: pass its Layout as `layout`")
    able = {layout: found for layout, found in known.items() if found.holds(model)}
    if not able or (asked in known and asked not in able):
        what = ", ".join(f"{k}={v}" for k, v in model.hyperparameters.items())
        raise ValueError(f"the code of {asked or ' or '.join(known)} has no {name} with {what}")
    if asked is None:
        return next(layout for layout in able.values() if layout.preferred(model))
    if asked not in known:
        raise ValueError(f"{name} has no layout {asked!r}; known are {', '.join(known)}")
    return known[asked]


def _check(name: str, table: list[Tensor], weights: Weights) -> None:
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


def _gather(table: list[Tensor], weights: Weights) -> dict[str, Any]:
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
