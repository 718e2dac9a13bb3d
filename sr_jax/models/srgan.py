"""The discriminator of SRGAN: Ledig et al., "Photo-Realistic Single Image Super-Resolution Using
a Generative Adversarial Network" (CVPR 2017, arXiv 1609.04802). The generator is `SRResNet`."""

import functools
from typing import ClassVar

import flax.linen as nn
import jax

from sr_jax.models.layers import BatchNorm, Conv, uniform_fan_in
from sr_jax.models.network import Network
from sr_jax.ops.conv import halving_conv2d

# (width in units of n_feats, stride) of the eight convolutions.
LAYERS = ((1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (8, 2))
leaky_relu = functools.partial(nn.leaky_relu, negative_slope=0.2)


class HalvingConv(nn.Module):
    """`halving_conv2d` with a kernel of its own, without bias."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        shape = (3, 3, channels, self.features)
        kernel = self.param("kernel", uniform_fan_in(9 * channels), shape)
        return halving_conv2d(x, kernel.astype(x.dtype))


class Discriminator(Network):
    """Tells photographs from upscaled images (figure 4), (N, S, S, n_colors) in [0, 1] -> (N, 1).

    The result is the logit of "a photograph"; the paper's sigmoid belongs to the loss. Training
    (`train=True`) wants `mutable=["batch_stats"]`.

    Attributes:
        image_size: S, to which the dense layers are tied.
        n_feats: channels of the first convolution, an eighth of the last one's.
        n_colors: channels of the image.
    """

    image_size: int = 96
    n_feats: int = 64
    n_colors: int = 3

    upscales: ClassVar[bool] = False

    @property
    def example_size(self) -> int:
        """The only size that it takes."""
        return self.image_size

    def check_fields(self) -> None:
        """Raises ValueError for a size that cannot be halved four times."""
        if self.image_size % 16:
            raise ValueError(f"image_size is {self.image_size}, expected a multiple of 16")

    @nn.compact
    def __call__(
        self, images: jax.Array, *, scale: int | None = None, train: bool = False
    ) -> jax.Array:
        self.check_input(images.shape[1], images.shape[2], scale)
        x = images
        for index, (width, stride) in enumerate(LAYERS):
            features = width * self.n_feats
            if stride == 1:
                x = Conv(features, use_bias=index == 0, name=f"conv_{index}")(x)
            else:
                x = HalvingConv(features, name=f"conv_{index}")(x)
            if index > 0:
                x = BatchNorm(name=f"norm_{index}")(x, train=train)
            x = leaky_relu(x)
        x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)  # PyTorch flattens (C, H, W)
        x = leaky_relu(_dense(x, 1024, "dense_0"))
        return _dense(x, 1, "dense_1")

    def check_input(self, height: int, width: int, scale: int | None) -> None:
        """Raises ValueError for images of another size and for a scale, which it has not."""
        if scale is not None:
            raise ValueError(f"a discriminator has no scale; asked for scale {scale}")
        side = self.image_size
        if (height, width) != (side, side):
            raise ValueError(
                f"this discriminator takes images of {side}x{side} pixels, to which its dense "
                f"layers are tied; given {height}x{width}: crop them, or make one with "
                f"image_size={height}"
            )


def _dense(x: jax.Array, features: int, name: str) -> jax.Array:
    init = uniform_fan_in(x.shape[-1])
    layer = nn.Dense(features, dtype=x.dtype, kernel_init=init, bias_init=init, name=name)
    return layer(x)
