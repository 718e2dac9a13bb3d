"""VGG-16 and VGG-19: Simonyan and Zisserman, ICLR 2015, arXiv 1409.1556; torchvision's names.

Only the convolutional part: perceptual losses use nothing else.
"""

import torch
from torch import nn

from experiments.twins.layers import conv

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CONVS_PER_BLOCK = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(nn.Module):
    """(N, 3, H, W) in 0..1 -> the output of one module of `features`.

    `tap` is torchvision's index: conv5_4 of VGG-19 is 34, its ReLU 35. The default is the last
    ReLU, before the last pooling. Modules after the tap exist for strict loading and do not run.
    """

    rgb_range = 1.0

    def __init__(self, n_layers: int = 19, tap: int | None = None) -> None:
        super().__init__()
        modules: list[nn.Module] = []
        n_in = 3
        widths = (64, 128, 256, 512, 512)
        for n_out, repeats in zip(widths, CONVS_PER_BLOCK[n_layers], strict=True):
            for _ in range(repeats):
                modules += [conv(n_in, n_out), nn.ReLU(inplace=True)]
                n_in = n_out
            modules.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*modules)
        self.tap = len(modules) - 2 if tap is None else tap
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            # float64, so that a float64 network normalises by unrounded numbers.
            buffer = torch.tensor(values, dtype=torch.float64).reshape(1, 3, 1, 1)
            self.register_buffer(name, buffer, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x - self.mean.to(x.dtype)) / self.std.to(x.dtype)
        return self.features[: self.tap + 1](x)
