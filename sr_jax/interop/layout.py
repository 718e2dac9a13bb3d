"""What the published layouts share: how a layout is written down, and how sizes are read off.

A layout is the names that one code base gives to the tensors of one network, as a table of rows
(torch module, our module, kind of module) for the depths of one network, in the order of the state
dict. The same table reads a checkpoint, writes one, orders it and names what is missing. Each
network's layouts stand in its own file; the table of all is in `sr_jax.interop.torch`.

A network outside the package may have one too. Nothing is registered, it is passed:

    LAYOUT = Layout(ESPCN, "espcn", "feature_maps.*", rows, fields)
    model, variables = from_torch(state_dict, LAYOUT)
    state_dict = to_torch(model, variables, layout=LAYOUT)
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flax.traverse_util
import numpy as np

from sr_jax.models import describe_model
from sr_jax.models.layers import DIV2K_MEAN
from sr_jax.models.network import Network
from sr_jax.weights import variable_shapes

Fields = dict[str, Any]

# A kind of module: its tensors as (torch suffix, our collection, our name, axes), where
# `torch.transpose(axes)` is ours; None keeps the axes.
Kind = tuple[tuple[str, str, str, tuple[int, ...] | None], ...]
CONV: Kind = (("weight", "params", "kernel", (2, 3, 1, 0)), ("bias", "params", "bias", None))
MEAN: Kind = (("weight", "constants", "kernel", (2, 3, 1, 0)), ("bias", "constants", "bias", None))
PRELU: Kind = (("weight", "params", "slope", None),)
BATCH_NORM: Kind = (
    ("weight", "params", "scale", None),
    ("bias", "params", "bias", None),
    ("running_mean", "batch_stats", "mean", None),
    ("running_var", "batch_stats", "var", None),
    ("num_batches_tracked", "constants", "num_batches_tracked", None),
)


class Row(NamedTuple):
    """One module of a checkpoint: its torch name, our path, its kind, its place in our stack."""

    torch: str
    ours: str
    kind: Kind = CONV
    at: tuple[int, ...] = ()


class Weights(dict[str, np.ndarray]):
    """A state dict, and what its names and shapes tell; None where nothing fits.

    Majorities count, so that one tensor of a wrong shape is reported as such, not believed.
    """

    def has(self, pattern: str) -> bool:
        """Whether a whole name fits."""
        return any(re.fullmatch(pattern, name) for name in self)

    def size(self, *places: tuple[str, int]) -> int | None:
        """The most frequent length of an axis; `places` are (pattern of whole names, axis)."""
        lengths = Counter(
            tensor.shape[axis]
            for pattern, axis in places
            for name, tensor in self.items()
            if re.fullmatch(pattern, name) and tensor.ndim > axis
        )
        return lengths.most_common(1)[0][0] if lengths else None

    def largest(self, pattern: str, plus: int = 0) -> int | None:
        """`plus` more than the largest number in a pattern's group, at the start of a name."""
        matches = (re.match(pattern, name) for name in self)
        return max((int(match[1]) + plus for match in matches if match), default=None)

    def upscaling(self, stage: str, n_feats: int | None) -> int | None:
        """The factor of sub-pixel stages; `stage` fits their convolutions, its group the number."""
        numbers = {m[1] for m in (re.fullmatch(stage, name) for name in self) if m}
        if not numbers or not n_feats:
            return None
        return 3 if self.size((stage, 0)) == 9 * n_feats else 2 ** len(numbers)

    def rgb_range(self) -> float:
        """The value of white that the mean shift was made for; 1 where there is none."""
        if "sub_mean.bias" not in self:
            return 1.0
        white = float(-np.mean(self["sub_mean.bias"], dtype=np.float64) / np.mean(DIV2K_MEAN))
        # RCAN and SAN train these values, and some checkpoints have another data set's mean.
        usual = (known for known in (1.0, 255.0) if abs(white / known - 1) < 0.25)
        return next(usual, round(white, 4))


class Layout(NamedTuple):
    """The names that one code base gives to the tensors of one network.

    Attributes:
        network: the network's class.
        name: of the code base.
        marker: a pattern of whole names that only this layout has.
        rows: the table, for a network; tensors that the network has not are passed over.
        fields: weights -> (hyper-parameters read off, hyper-parameters assumed). What could not
            be read off is None: it keeps the network's default and shows up as missing.
        ignored: a pattern of names that are no part of our network.
        preferred: whether a network is written in this layout unless another is asked for; of
            several the first is taken.
        holds: whether that code can compute a network at all.
    """

    network: type[Network]
    name: str
    marker: str
    rows: Callable[[Any], Iterator[Row]]
    fields: Callable[[Weights], tuple[Fields, Fields]]
    ignored: str = "(?!)"
    preferred: Callable[[Any], bool] = lambda model: True
    holds: Callable[[Any], bool] = lambda model: True


class Tensor(NamedTuple):
    """One tensor of a checkpoint, and where its values lie among our variables.

    Attributes:
        name, shape: of the checkpoint's tensor.
        path, ours: of our variable, and its shape with the stack's axes.
        at: the place in the stack: `variable[at]` is `tensor.transpose(axes)`.
        axes: None keeps their order.
        integer: whether it counts something.
    """

    name: str
    shape: tuple[int, ...]
    path: str
    ours: tuple[int, ...]
    at: tuple[int, ...]
    axes: tuple[int, ...] | None
    integer: bool


def tensors(model: Network, layout: Layout) -> list[Tensor]:
    """All tensors that a checkpoint of this network has in this layout, in its order.

    Raises:
        ValueError: the layout has no names for some of the network's variables.
    """
    shapes = flax.traverse_util.flatten_dict(dict(variable_shapes(model)), sep="/")
    found = []
    for row in layout.rows(model):
        for suffix, collection, name, axes in row.kind:
            path = "/".join(part for part in (collection, row.ours, name) if part)
            if path not in shapes:
                continue
            ours = shapes[path].shape
            shape = ours[len(row.at) :]
            if axes:
                shape = tuple(shape[axis] for axis in np.argsort(axes))
            torch_name = ".".join(part for part in (row.torch, suffix) if part)
            integer = np.issubdtype(shapes[path].dtype, np.integer)
            found.append(Tensor(torch_name, shape, path, ours, row.at, axes, integer))
    nameless = sorted(shapes.keys() - {tensor.path for tensor in found})
    if nameless:
        name, _ = describe_model(model)
        raise ValueError(f"this layout has no names for {name}'s {', '.join(nameless)}")
    return found


# Modules that several networks have.

MEAN_SHIFT = (Row("sub_mean", "sub_mean", MEAN), Row("add_mean", "add_mean", MEAN))


def upsampler(torch: str, ours: str) -> Iterator[Row]:
    """Sub-pixel stages: a convolution each, then a shuffle; x8 has three."""
    yield from (Row(f"{torch}.{2 * i}", f"{ours}/conv_{i}") for i in range(3))


def resblocks(torch: str, ours: str, number: int) -> Iterator[Row]:
    """EDSR's: two convolutions with a ReLU between them."""
    for i in range(number):
        yield Row(f"{torch}.{i}.body.0", f"{ours}/conv_0", CONV, (i,))
        yield Row(f"{torch}.{i}.body.2", f"{ours}/conv_1", CONV, (i,))
