"""The nine networks in plain PyTorch, written from their papers' description.

They load the published state dicts strictly. Images are (N, C, H, W) in 0..`rgb_range`, the
twin's attribute, as in the original repositories.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from experiments.twins.csnln import CSNLN
from experiments.twins.edsr import EDSR
from experiments.twins.mdsr import MDSR
from experiments.twins.rcan import RCAN
from experiments.twins.san import SAN
from experiments.twins.srcnn import SRCNN
from experiments.twins.srresnet import Discriminator, SRResNet
from experiments.twins.vdsr import VDSR, VDSRWithoutBias
from experiments.twins.vgg import VGG

# Name -> class and the hyper-parameters in which the variant differs from the class's defaults.
TWINS: dict[str, tuple[Callable[..., nn.Module], dict[str, Any]]] = {
    "srcnn_915": (SRCNN, {"kernel_sizes": (9, 1, 5)}),
    "srcnn_935": (SRCNN, {"kernel_sizes": (9, 3, 5)}),
    "srcnn_955": (SRCNN, {"kernel_sizes": (9, 5, 5)}),
    "vdsr": (VDSR, {}),
    "vdsr_nobias": (VDSRWithoutBias, {}),
    "srresnet": (SRResNet, {}),
    "srgan_generator": (SRResNet, {}),
    "srgan_discriminator": (Discriminator, {}),
    "edsr": (EDSR, {}),
    "edsr_baseline": (EDSR, {"n_resblocks": 16, "n_feats": 64, "res_scale": 1.0}),
    "mdsr": (MDSR, {}),
    "mdsr_baseline": (MDSR, {"n_resblocks": 16}),
    "rcan": (RCAN, {}),
    "san": (SAN, {}),
    "csnln": (CSNLN, {}),
    "vgg19": (VGG, {"n_layers": 19}),
    "vgg16": (VGG, {"n_layers": 16}),
}


def create_twin(name: str, **hyperparameters: Any) -> nn.Module:
    """Builds a twin by the architecture name that `sr_jax.models.create_model` knows it by.

    Args:
        name: one of `TWINS`.
        **hyperparameters: constructor arguments of the twin; they override the variant's.

    Returns:
        A module in training mode with PyTorch's default initialisation.

    Raises:
        ValueError: unknown name; the message lists the known ones.
    """
    if name not in TWINS:
        raise ValueError(f"unknown architecture {name!r}; known are {', '.join(TWINS)}")
    network, preset = TWINS[name]
    return network(**{**preset, **hyperparameters})
