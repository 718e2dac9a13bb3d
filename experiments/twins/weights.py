"""The same weights and arrays on both sides: a twin's, as sr_jax takes them."""

from typing import Any

import numpy as np
import torch
from torch import nn


def randomise(twin: nn.Module, seed: int, gain: float = 1.0) -> None:
    """Weights under which every live parameter shows in the output, SAN's zeros included.

    Args:
        twin: is changed.
        seed: of the weights.
        gain: factor on the weights of convolutions. With 1, features keep their order of
            magnitude from layer to layer, but grow by a residual block: hundreds of blocks need
            less, or float32 and float64 part.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(like: torch.Tensor, mean: float, std: float) -> None:
        like.copy_(mean + std * torch.randn(like.shape, generator=generator))

    with torch.no_grad():
        for name, module in twin.named_modules():
            if name in ("sub_mean", "add_mean"):
                continue
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                transposed = isinstance(module, nn.ConvTranspose2d)
                # A pixel of a transposed convolution sees one tap in stride squared.
                taps = module.weight[0].numel() / (module.stride[0] ** 2 if transposed else 1)
                # Features of order one, lest softmax and sigmoid saturate and hide errors.
                first = name in ("head.0", "body.0.0")
                level = 4 / twin.rgb_range if first and twin.rgb_range > 1 else gain
                normal(module.weight, 0.0, level * taps**-0.5)
                if module.bias is not None:
                    normal(module.bias, 0.0, 0.1)
            elif isinstance(module, nn.BatchNorm2d):
                normal(module.weight, 1.0, 0.1)
                normal(module.bias, 0.0, 0.1)
                normal(module.running_mean, 0.0, 0.1)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
            elif isinstance(module, nn.PReLU):
                normal(module.weight, 0.25, 0.05)
            if isinstance(getattr(module, "gamma", None), nn.Parameter):
                normal(module.gamma, 0.1, 0.02)


def numpy_state(twin: nn.Module) -> dict[str, np.ndarray]:
    """The state dict as arrays, which `sr_jax.interop.torch.from_torch` takes."""
    return {name: tensor.numpy() for name, tensor in twin.state_dict().items()}


def to_nhwc(tensor: Any) -> np.ndarray:
    """(N, C, H, W) -> (N, H, W, C); anything that is no batch of images stays as it is."""
    array = np.asarray(tensor)
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array
