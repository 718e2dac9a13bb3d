"""How published code names the tensors of each network, and what their shapes tell.

A layout is a table of rows (torch module, our module, kind of module), written out for the depths
of one network and in the order of the state dict. The same table reads a checkpoint, writes one,
orders it and names what is missing. Fact sheet: "State dict" in each network's section.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import flax.traverse_util
import numpy as np

from sr_jax.interop import fields
from sr_jax.interop.fields import Fields, StateDict
from sr_jax.models import describe_model
from sr_jax.models.csnln import CSNLN
from sr_jax.models.edsr import EDSR
from sr_jax.models.mdsr import MDSR
from sr_jax.models.network import Network
from sr_jax.models.rcan import RCAN
from sr_jax.models.san import SAN
from sr_jax.models.srcnn import SRCNN
from sr_jax.models.srgan import Discriminator
from sr_jax.models.srresnet import SRResNet
from sr_jax.models.vdsr import VDSR
from sr_jax.models.vgg import VGG
from sr_jax.weights import variable_shapes

# A kind of module: its tensors as (torch suffix, our collection, our name, axes), where
# `torch.transpose(axes)` is ours; None keeps the axes.
Kind = tuple[tuple[str, str, str, tuple[int, ...] | None], ...]
CONV: Kind = (("weight", "params", "kernel", (2, 3, 1, 0)), ("bias", "params", "bias", None))
MEAN: Kind = (("weight", "constants", "kernel", (2, 3, 1, 0)), ("bias", "constants", "bias", None))
LINEAR: Kind = (("weight", "params", "kernel", (1, 0)), ("bias", "params", "bias", None))
TRANSPOSED: Kind = (("weight", "params", "kernel", (2, 3, 0, 1)), ("bias", "params", "bias", None))
PRELU: Kind = (("weight", "params", "slope", None),)
GAMMA: Kind = (("gamma", "params", "gamma", None),)
ESCAPE_NAN: Kind = (("escape_NaN", "constants", "escape_NaN", None),)
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


class Layout(NamedTuple):
    """The names that one code base gives to the tensors of one network.

    Attributes:
        marker: a pattern of names that only this layout has.
        rows: the table, for a network; tensors that the network has not are passed over.
        fields: state dict -> (hyper-parameters read off, hyper-parameters assumed).
        ignored: a pattern of names that are no part of our network.
    """

    marker: str
    rows: Callable[[Any], Iterator[Row]]
    fields: Callable[[StateDict], tuple[Fields, Fields]]
    ignored: str = "(?!)"


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


def _mean_shift() -> Iterator[Row]:
    yield from (Row("sub_mean", "sub_mean", MEAN), Row("add_mean", "add_mean", MEAN))


def _upsampler(torch: str, ours: str) -> Iterator[Row]:
    yield from (Row(f"{torch}.{2 * i}", f"{ours}/conv_{i}") for i in range(3))


# SRCNN


def _srcnn(names: tuple[str, str, str], model: SRCNN) -> Iterator[Row]:
    yield from (Row(name, f"conv_{i}") for i, name in enumerate(names))


# VDSR


def _vdsr_twtygqyy(model: VDSR) -> Iterator[Row]:
    yield from _mean_shift()
    yield from (Row(f"residual_layer.{i}.conv", "body", CONV, (i,)) for i in range(model.depth - 2))
    yield from (Row("input", "head"), Row("output", "tail"))


def _vdsr_edsr(model: VDSR) -> Iterator[Row]:
    yield from _mean_shift()
    yield Row("body.0.0", "head")
    yield from (Row(f"body.{i + 1}.0", "body", CONV, (i,)) for i in range(model.depth - 2))
    yield Row(f"body.{model.depth - 1}.0", "tail")


def _vdsr_lornatang(model: VDSR) -> Iterator[Row]:
    yield from _mean_shift()
    yield Row("conv1.0", "head")
    yield from (Row(f"trunk.{i}.conv", "body", CONV, (i,)) for i in range(model.depth - 2))
    yield Row("conv2", "tail")


# EDSR


def _edsr(model: EDSR) -> Iterator[Row]:
    yield from _mean_shift()
    yield Row("head.0", "head")
    yield from _blocks("body", "body", model.n_resblocks)
    yield Row(f"body.{model.n_resblocks}", "body_conv")
    yield from _upsampler("tail.0", "upsampler")
    yield Row("tail.1", "tail")


def _blocks(torch: str, ours: str, number: int, *at: int) -> Iterator[Row]:
    """Residual blocks of two convolutions."""
    for i in range(number):
        yield Row(f"{torch}.{i}.body.0", f"{ours}/conv_0", CONV, (*at, i))
        yield Row(f"{torch}.{i}.body.2", f"{ours}/conv_1", CONV, (*at, i))


# MDSR


def _mdsr(model: MDSR) -> Iterator[Row]:
    yield from _mean_shift()
    for i, scale in enumerate(model.scales):
        yield from _blocks(f"pre_process.{i}", f"pre_process_x{scale}", 2)
    for i, scale in enumerate(model.scales):
        yield from _upsampler(f"upsample.{i}", f"upsampler_x{scale}")
    yield Row("head.0", "head")
    yield from _blocks("body", "body", model.n_resblocks)
    yield Row(f"body.{model.n_resblocks}", "body_conv")
    yield Row("tail.0", "tail")


# RCAN


def _rcan(model: RCAN) -> Iterator[Row]:
    yield from _mean_shift()
    yield Row("head.0", "head")
    for g in range(model.n_resgroups):
        for b in range(model.n_resblocks):
            block, at = f"body.{g}.body.{b}.body", (g, b)
            yield Row(f"{block}.0", "body/blocks/conv_0", CONV, at)
            yield Row(f"{block}.2", "body/blocks/conv_1", CONV, at)
            yield Row(f"{block}.3.conv_du.0", "body/blocks/attention/conv_0", CONV, at)
            yield Row(f"{block}.3.conv_du.2", "body/blocks/attention/conv_1", CONV, at)
        yield Row(f"body.{g}.body.{model.n_resblocks}", "body/conv", CONV, (g,))
    yield Row(f"body.{model.n_resgroups}", "body_conv")
    yield from _upsampler("tail.0", "upsampler")
    yield Row("tail.1", "tail")


# SAN


def _san(model: SAN) -> Iterator[Row]:
    mean_shift = list(_mean_shift())
    yield from (Row("", "", GAMMA), mean_shift[0])
    for g in range(model.n_resgroups):
        yield Row(f"RG.{g}", "RG", GAMMA, (g,))
        for b in range(model.n_resblocks):
            yield Row(f"RG.{g}.rcab.{b}.conv_first.0", "RG/rcab/conv_0", CONV, (g, b))
            yield Row(f"RG.{g}.rcab.{b}.conv_first.2", "RG/rcab/conv_1", CONV, (g, b))
        yield Row(f"RG.{g}.soca.conv_du.0", "RG/soca/conv_0", CONV, (g,))
        yield Row(f"RG.{g}.soca.conv_du.2", "RG/soca/conv_1", CONV, (g,))
        yield Row(f"RG.{g}.conv_last", "RG/conv_last", CONV, (g,))
    yield from (Row("conv_last", "conv_last"), mean_shift[1])
    yield Row("non_local.soca.conv_du.0", "non_local/soca/conv_0")
    yield Row("non_local.soca.conv_du.2", "non_local/soca/conv_1")
    for name in ("g.0", "W", "theta", "phi.0"):
        yield Row(f"non_local.non_local.{name}", f"non_local/non_local/{name.split('.')[0]}")
    yield Row("head.0", "head")
    yield from _upsampler("tail.0", "upsampler")
    yield Row("tail.1", "tail")


# CSNLN


def _csnln(model: CSNLN) -> Iterator[Row]:
    mean_shift = list(_mean_shift())
    yield mean_shift[0]
    yield from _projection("multi_source_projection")
    yield from _conv_prelu("SEM.down_sample_1", "SEM/down_sample_1")
    yield from _conv_prelu("SEM.down_sample_2", "SEM/down_sample_2")
    yield from _conv_prelu("SEM.error_encode", "SEM/error_encode", TRANSPOSED)
    yield from _conv_prelu("SEM.post_conv", "SEM/post_conv")
    yield from _projection("multi_source_projection_2")
    yield from _conv_prelu("SEM.down_sample_3", "SEM/down_sample_3")
    yield from _conv_prelu("SEM.down_sample_4", "SEM/down_sample_4")
    yield from _conv_prelu("SEM.error_encode_2", "SEM/error_encode_2", TRANSPOSED)
    yield mean_shift[1]
    yield from _conv_prelu("head.0", "head_0")
    yield from _conv_prelu("head.1", "head_1")
    yield Row("tail.0", "tail")


def _projection(name: str) -> Iterator[Row]:
    torch, ours = f"SEM.{name}", f"SEM/{name}"
    yield Row(f"{torch}.up_attention", f"{ours}/up_attention", ESCAPE_NAN)
    for conv in ("conv_match_1", "conv_match_2", "conv_assembly"):
        yield from _conv_prelu(f"{torch}.up_attention.{conv}", f"{ours}/up_attention/{conv}")
    for conv in ("conv_match1", "conv_match2", "conv_assembly"):
        yield from _conv_prelu(f"{torch}.down_attention.{conv}", f"{ours}/down_attention/{conv}")
    yield from _conv_prelu(f"{torch}.upsample", f"{ours}/upsample", TRANSPOSED)
    yield from _conv_prelu(f"{torch}.encoder.body", f"{ours}/encoder/body_0")
    yield Row(f"{torch}.encoder.body.2", f"{ours}/encoder/body_1")


def _conv_prelu(torch: str, ours: str, kind: Kind = CONV) -> Iterator[Row]:
    yield from (Row(f"{torch}.0", f"{ours}/conv", kind), Row(f"{torch}.1", f"{ours}/prelu", PRELU))


# SRResNet


def _srresnet(model: SRResNet) -> Iterator[Row]:
    yield from (Row("conv1.0", "head"), Row("conv1.1", "head_prelu", PRELU))
    for i in range(model.n_resblocks):
        kinds = {"conv_0": CONV, "norm_0": BATCH_NORM, "prelu": PRELU}
        kinds |= {"conv_1": CONV, "norm_1": BATCH_NORM}
        for j, (name, kind) in enumerate(kinds.items()):
            yield Row(f"trunk.{i}.rcb.{j}", f"body/{name}", kind, (i,))
    yield from (Row("conv2.0", "body_conv"), Row("conv2.1", "body_norm", BATCH_NORM))
    for i in range(3):
        yield Row(f"upsampling.{i}.upsample_block.0", f"upsampler/conv_{i}")
        yield Row(f"upsampling.{i}.upsample_block.2", f"upsampler/prelu_{i}", PRELU)
    yield Row("conv3", "tail")


# SRGAN's discriminator


def _discriminator(model: Discriminator) -> Iterator[Row]:
    yield Row("features.0", "conv_0")
    for i in range(1, 8):
        yield Row(f"features.{3 * i - 1}", f"conv_{i}")
        yield Row(f"features.{3 * i}", f"norm_{i}", BATCH_NORM)
    yield from (Row("classifier.0", "dense_0", LINEAR), Row("classifier.2", "dense_1", LINEAR))


# VGG, as torchvision has it


def _vgg(model: VGG) -> Iterator[Row]:
    number = 0
    for block, count in enumerate(model.convs_per_block, 1):
        for i in range(1, count + 1):
            yield Row(f"features.{number}", f"conv{block}_{i}")
            number += 2  # an activation follows
        number += 1  # and a pooling


SRCNN_NAMES = ("conv1", "conv2", "conv3")
SRCNN_LORNATANG = ("features.0", "map.0", "reconstruction")

# Network -> name of the layout -> layout. The first layout of a network is its default (VDSR's
# depends on its biases). Of all layouts, the first whose marker a checkpoint has is taken: the
# order matters where one network's names contain another's.
LAYOUTS: dict[type[Network], dict[str, Layout]] = {
    VDSR: {
        "twtygqyy": Layout(
            r"residual_layer\.\d+\.conv\.weight",
            _vdsr_twtygqyy,
            partial(fields.vdsr_fields, r"input\.weight", r"residual_layer\.(\d+)\.conv\.", 3),
        ),
        "edsr": Layout(
            r"body\.\d+\.0\.weight",
            _vdsr_edsr,
            partial(fields.vdsr_fields, r"body\.0\.0\.weight", r"body\.(\d+)\.0\.", 1),
        ),
        "lornatang": Layout(
            r"trunk\.\d+\.conv\.weight",
            _vdsr_lornatang,
            partial(fields.vdsr_fields, r"conv1\.0\.weight", r"trunk\.(\d+)\.conv\.", 3),
        ),
    },
    SRResNet: {"lornatang": Layout(r"trunk\.\d+\.rcb\..*", _srresnet, fields.srresnet_fields)},
    SRCNN: {
        # also mmagic's
        "yjn870": Layout(
            r"conv[123]\.weight",
            partial(_srcnn, SRCNN_NAMES),
            partial(fields.srcnn_fields, SRCNN_NAMES),
        ),
        "lornatang": Layout(
            r"(map\.0|reconstruction)\.weight",
            partial(_srcnn, SRCNN_LORNATANG),
            partial(fields.srcnn_fields, SRCNN_LORNATANG),
        ),
    },
    RCAN: {"rcan": Layout(r"body\..*\.conv_du\..*", _rcan, fields.rcan_fields)},
    SAN: {"san": Layout(r"RG\..*", _san, fields.san_fields)},
    CSNLN: {"csnln": Layout(r"SEM\..*", _csnln, fields.csnln_fields)},
    MDSR: {"edsr": Layout(r"pre_process\..*", _mdsr, fields.mdsr_fields)},
    EDSR: {"edsr": Layout(r"body\.\d+\.body\.\d+\.weight", _edsr, fields.edsr_fields)},
    Discriminator: {
        "lornatang": Layout(
            r"features\.\d+\.running_mean", _discriminator, fields.discriminator_fields
        )
    },
    VGG: {
        "torchvision": Layout(r"features\.28\.weight", _vgg, fields.vgg_fields, r"classifier\..*")
    },
}
