"""The networks: pure functions from a low-resolution image to a high-resolution image.

Example:
    >>> import jax, jax.numpy as jnp
    >>> from sr_jax.models import create_model, forward
    >>> model = create_model("edsr_baseline", scale=2, n_resblocks=2)
    >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    >>> forward(model, variables, jnp.zeros((1, 24, 20, 3))).shape
    (1, 48, 40, 3)
"""

import functools
import importlib
from collections.abc import Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sr_jax.models.csnln import CSNLN
from sr_jax.models.edsr import EDSR
from sr_jax.models.hyperparameters import check as check_types
from sr_jax.models.mdsr import MDSR
from sr_jax.models.network import Network
from sr_jax.models.rcan import RCAN
from sr_jax.models.san import SAN
from sr_jax.models.srcnn import SRCNN
from sr_jax.models.srgan import Discriminator
from sr_jax.models.srresnet import SRResNet
from sr_jax.models.vdsr import VDSR
from sr_jax.models.vgg import VGG
from sr_jax.ops.multiply_adds import count_multiply_adds
from sr_jax.ops.target import Target, traced_for

Variables = Mapping[str, Any]

# Name -> class and the hyper-parameters in which the variant differs from the class's defaults.
# The first name of a class is the one that any other choice of hyper-parameters goes by.
Table = dict[str, tuple[type[Network], dict[str, Any]]]

NETWORKS: Table = {  # what upscales
    "srcnn_915": (SRCNN, {"kernel_sizes": (9, 1, 5)}),
    "srcnn_935": (SRCNN, {"kernel_sizes": (9, 3, 5)}),
    "srcnn_955": (SRCNN, {"kernel_sizes": (9, 5, 5)}),
    "vdsr": (VDSR, {"use_bias": True}),
    "vdsr_nobias": (VDSR, {"use_bias": False}),
    "srresnet": (SRResNet, {}),
    "srgan_generator": (SRResNet, {"scale": 4}),
    "edsr": (EDSR, {"n_resblocks": 32, "n_feats": 256, "res_scale": 0.1}),
    "edsr_baseline": (EDSR, {"n_resblocks": 16, "n_feats": 64, "res_scale": 1.0}),
    "mdsr": (MDSR, {"n_resblocks": 80}),
    "mdsr_baseline": (MDSR, {"n_resblocks": 16}),
    "rcan": (RCAN, {}),
    "san": (SAN, {}),
    "csnln": (CSNLN, {}),
}
HELPERS: Table = {  # what only helps to train
    "srgan_discriminator": (Discriminator, {}),
    "vgg19": (VGG, {"convs_per_block": (2, 2, 4, 4, 4)}),
    "vgg16": (VGG, {"convs_per_block": (2, 2, 3, 3, 3)}),
}
ARCHITECTURES: Table = NETWORKS | HELPERS


def create_model(
    name: str | type[Network], *, allow: Collection[str] = (), **hyperparameters: Any
) -> Network:
    """Builds a network.

    Args:
        name: one of `ARCHITECTURES`; a class; or the import path 'module:Class' of a network
            outside this package.
        allow: the import paths that may be imported, which runs their code. Nothing else is.
        **hyperparameters: fields of the network's class; they override the variant's.

    Returns:
        An unbound Flax module. It holds no parameters: `model.init(key, images)` makes them.

    Raises:
        ValueError: unknown name or hyper-parameter, and the message lists the known ones; a value
            of another type or out of range; an import path that is not allowed or names no network.
    """
    if isinstance(name, type):
        module, preset = name, dict[str, Any]()
    elif ":" in name:
        module, preset = _import_network(name, allow), {}
    elif name in ARCHITECTURES:
        module, preset = ARCHITECTURES[name]
    else:
        raise ValueError(f"unknown architecture {name!r}; known are {', '.join(ARCHITECTURES)}")
    known = module.field_names()
    unknown = sorted(set(hyperparameters) - set(known))
    if unknown:
        raise ValueError(
            f"{name} has no hyper-parameter {', '.join(unknown)}; it has {', '.join(known)}"
        )
    model = module(**{**preset, **check_types(module, hyperparameters)})
    model.check_fields()
    return model


def _import_network(path: str, allow: Collection[str]) -> type[Network]:
    if path not in allow:
        raise ValueError(
            f"{path} is a network outside sr_jax; importing it runs its code: if you trust it, "
            f"allow it (--allow {path})"
        )
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{path} cannot be imported ({error}): is it on PYTHONPATH?") from error
    if not (isinstance(found, type) and issubclass(found, Network)):
        raise ValueError(f"{path} is no subclass of sr_jax.models.network.Network")
    return found


def describe_model(model: Network) -> tuple[str, dict[str, Any]]:
    """The name and all hyper-parameters from which `create_model` builds this network again.

    The name of a network outside this package is its import path, 'module:Class'.
    """
    kind, hyperparameters = type(model), model.hyperparameters
    names = [name for name, (module, _) in ARCHITECTURES.items() if module is kind]
    for name in names:
        if ARCHITECTURES[name][1].items() <= hyperparameters.items():
            return name, hyperparameters
    return names[0] if names else f"{kind.__module__}:{kind.__qualname__}", hyperparameters


def forward(
    model: Network, variables: Variables, images: jax.Array, *, scale: int | None = None
) -> jax.Array:
    """Runs a network in evaluation mode; the result is neither clipped nor rounded.

    Args:
        model: a network of this package.
        variables: its variables, `params` and whatever other collections it has.
        images: (N, H, W, C) floats of nominal range [0, 1]; the computation takes their dtype.
            Networks with `takes_interpolated` want them already at the output size.
        scale: None, or the network's own; one of its scales for MDSR, which takes no None. SRCNN
            and VDSR ignore it.

    Returns:
        (N, scale * H, scale * W, C); the input's size from SRCNN and VDSR. The discriminator
        returns logits (N, 1), VGG a feature map.

    Raises:
        ValueError: wrong number of axes, channels, dtype, scale or, for some networks, size.
    """
    check_call(model, images.shape, images.dtype, scale)
    return _apply(model, variables, images, scale)


@functools.partial(jax.jit, static_argnames=("model", "scale"))
def _apply(model: Network, variables: Variables, images: jax.Array, scale: int | None) -> Any:
    return model.apply(variables, images, scale=scale, train=False)


def multiply_adds(model: Network, height: int, width: int, scale: int | None = None) -> int:
    """Multiply-adds of one forward pass on one image: what its matrix products and convolutions do.

    The program is traced in its textbook form, not run. Borders and padding count; elementwise
    work, pooling and softmax do not. CSNLN's cross-scale attention avoids the ninefold redundancy
    of the official code, and its tiles compute the scores along their borders again. So its figure
    is neither the paper's formula nor the official code's.

    >>> multiply_adds(create_model("srcnn_915"), 10, 10)  # 8032 weights at 100 pixels
    803200

    Args:
        model: a network of this package.
        height, width: of the network's input.
        scale: as `forward` takes it.

    Raises:
        ValueError: as `forward` does.
    """
    images = jax.ShapeDtypeStruct((1, height, width, model.n_colors), np.float32)
    check_call(model, images.shape, images.dtype, scale)
    variables = variable_shapes(model)
    step = functools.partial(model.apply, scale=scale, train=False)
    with traced_for(Target("any")):
        return count_multiply_adds(jax.make_jaxpr(step)(variables, images).jaxpr)


def example_images(model: Network) -> jax.Array:
    """One black image of a size that the network takes, for `model.init`: float32 (1, H, W, C)."""
    return jnp.zeros((1, model.example_size, model.example_size, model.n_colors))


def variable_shapes(model: Network) -> Variables:
    """The variables of a network as `ShapeDtypeStruct`s, without computing any."""
    shape = (1, model.example_size, model.example_size, model.n_colors)
    return jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct(shape, jnp.float32))


def check_call(
    model: Network, shape: tuple[int, ...], dtype: Any, scale: int | None = None
) -> None:
    """Raises ValueError unless `model` can be called on images of this shape, dtype and scale."""
    name, _ = describe_model(model)
    channels = model.n_colors
    if len(shape) != 4 or shape[-1] != channels:
        raise ValueError(f"{name} takes images (N, H, W, {channels}); given {tuple(shape)}")
    if not jnp.issubdtype(dtype, np.floating):
        raise ValueError(f"{name} takes floating-point images in [0, 1]; given {dtype}")
    fixed = None if model.takes_interpolated else model.scale
    if fixed is not None and scale not in (None, fixed):
        raise ValueError(f"this {name} upscales by {fixed}; asked for scale {scale}")
    model.check_input(*shape[1:3], scale)


def count_parameters(variables: Variables) -> int:
    """Number of trainable values: the collection `params` alone, as the fact sheet counts."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(variables["params"]))
