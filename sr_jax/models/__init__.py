"""The networks: pure functions from a low-resolution image to a high-resolution image.

Example:
    >>> import jax, jax.numpy as jnp
    >>> from sr_jax.models import create_model, forward
    >>> model = create_model("edsr_baseline", scale=2, n_resblocks=2)
    >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    >>> forward(model, variables, jnp.zeros((1, 24, 20, 3))).shape
    (1, 48, 40, 3)
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from sr_jax.models.edsr import EDSR
from sr_jax.models.srcnn import SRCNN
from sr_jax.models.vdsr import VDSR

Variables = Mapping[str, Any]

# Name -> class and the hyper-parameters in which the variant differs from the class's defaults.
# The first name of a class is the one that any other choice of hyper-parameters goes by.
ARCHITECTURES: dict[str, tuple[type[nn.Module], dict[str, Any]]] = {
    "srcnn_915": (SRCNN, {"kernel_sizes": (9, 1, 5)}),
    "srcnn_935": (SRCNN, {"kernel_sizes": (9, 3, 5)}),
    "srcnn_955": (SRCNN, {"kernel_sizes": (9, 5, 5)}),
    "vdsr": (VDSR, {"use_bias": True}),
    "vdsr_nobias": (VDSR, {"use_bias": False}),
    "edsr": (EDSR, {"n_resblocks": 32, "n_feats": 256, "res_scale": 0.1}),
    "edsr_baseline": (EDSR, {"n_resblocks": 16, "n_feats": 64, "res_scale": 1.0}),
}


def create_model(name: str, **hyperparameters: Any) -> nn.Module:
    """Builds a network by name.

    Args:
        name: one of `ARCHITECTURES`.
        **hyperparameters: fields of the network's class; they override the variant's.

    Returns:
        An unbound Flax module. It holds no parameters: `model.init(key, images)` makes them.

    Raises:
        ValueError: unknown name or hyper-parameter; the message lists the known ones.
    """
    if name not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {name!r}; known are {', '.join(ARCHITECTURES)}")
    module, preset = ARCHITECTURES[name]
    known = _fields(module)
    unknown = sorted(set(hyperparameters) - set(known))
    if unknown:
        raise ValueError(
            f"{name} has no hyper-parameter {', '.join(unknown)}; it has {', '.join(known)}"
        )
    # A sequence may come as a list, from JSON or from a config; modules must be hashable.
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in hyperparameters.items()}
    return module(**{**preset, **given})


def describe_model(model: nn.Module) -> tuple[str, dict[str, Any]]:
    """The name and all hyper-parameters from which `create_model` builds this network again."""
    hyperparameters = {field: getattr(model, field) for field in _fields(type(model))}
    names = [name for name, (module, _) in ARCHITECTURES.items() if module is type(model)]
    for name in names:
        if ARCHITECTURES[name][1].items() <= hyperparameters.items():
            return name, hyperparameters
    return names[0], hyperparameters


def forward(
    model: nn.Module, variables: Variables, images: jax.Array, *, scale: int | None = None
) -> jax.Array:
    """Runs a network in evaluation mode; the result is neither clipped nor rounded.

    Args:
        model: a network of this package.
        variables: its variables, `params` and whatever other collections it has.
        images: (N, H, W, C) floats of nominal range [0, 1]; the computation takes their dtype.
            Networks with `takes_interpolated` want them already at the output size.
        scale: None, or the network's own. SRCNN and VDSR ignore it.

    Returns:
        (N, scale * H, scale * W, C); the input's size from SRCNN and VDSR.

    Raises:
        ValueError: wrong number of axes, channels, dtype or scale.
    """
    check_call(model, images.shape, images.dtype, scale)
    return _apply(model, variables, images, scale)


@functools.partial(jax.jit, static_argnames=("model", "scale"))
def _apply(model: nn.Module, variables: Variables, images: jax.Array, scale: int | None) -> Any:
    return model.apply(variables, images, scale=scale, train=False)


def check_call(
    model: nn.Module, shape: tuple[int, ...], dtype: Any, scale: int | None = None
) -> None:
    """Raises ValueError unless `model` can be called on images of this shape, dtype and scale."""
    name, fields = describe_model(model)
    channels = fields["n_colors"]
    if len(shape) != 4 or shape[-1] != channels:
        raise ValueError(f"{name} takes images (N, H, W, {channels}); given {tuple(shape)}")
    if not jax.numpy.issubdtype(dtype, np.floating):
        raise ValueError(f"{name} takes floating-point images in [0, 1]; given {dtype}")
    if not model.takes_interpolated and scale not in (None, fields["scale"]):
        raise ValueError(f"this {name} upscales by {fields['scale']}; asked for scale {scale}")


def count_parameters(variables: Variables) -> int:
    """Number of trainable values: the collection `params` alone, as the fact sheet counts."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(variables["params"]))


def _fields(module: type[nn.Module]) -> list[str]:
    return [f.name for f in dataclasses.fields(module) if f.name not in ("parent", "name")]
