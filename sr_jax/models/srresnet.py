"""SRResNet, which is also the generator of SRGAN: Ledig et al., "Photo-Realistic Single Image
Super-Resolution Using a Generative Adversarial Network" (CVPR 2017, arXiv 1609.04802)."""

import functools
from typing import ClassVar

import flax.linen as nn
import jax

from sr_jax.models.layers import (
    BatchNorm,
    Conv,
    PReLU,
    convolve_shuffled,
    repeat,
    shuffle_factors,
    upsampler_radius,
)
from sr_jax.models.network import Network
from sr_jax.ops.shuffle import pixel_shuffle

# He et al. over the fan-in, not truncated, as the PyTorch port; the paper does not say.
conv = functools.partial(
    Conv,
    kernel_init=nn.initializers.variance_scaling(2.0, "fan_in", "normal"),
    bias_init=nn.initializers.zeros,
)


class NormalizedResidualBlock(nn.Module):
    """x + BN(conv(PReLU(BN(conv(x))))), the block of figure 4."""

    n_feats: int
    prelu_per_channel: bool
    conv_bias: bool
    bn_epsilon: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        y = conv(self.n_feats, use_bias=self.conv_bias, name="conv_0")(x)
        y = BatchNorm(self.bn_epsilon, name="norm_0")(y, train=train)
        y = PReLU(self.prelu_per_channel, name="prelu")(y)
        y = conv(self.n_feats, use_bias=self.conv_bias, name="conv_1")(y)
        return x + BatchNorm(self.bn_epsilon, name="norm_1")(y, train=train)


class ShuffleStages(nn.Module):
    """Convolution, pixel shuffle and PReLU for every factor of the scale, then the last layer."""

    scale: int
    n_feats: int
    prelu_per_channel: bool

    @nn.compact
    def __call__(self, x: jax.Array, tail: Conv) -> jax.Array:
        *factors, last = shuffle_factors(self.scale)
        for index, factor in enumerate(factors):
            x = conv(self.n_feats * factor**2, name=f"conv_{index}")(x)
            x = pixel_shuffle(x, factor)
            x = PReLU(self.prelu_per_channel, name=f"prelu_{index}")(x)
        wide = conv(self.n_feats * last**2, name=f"conv_{len(factors)}")
        prelu = PReLU(self.prelu_per_channel, name=f"prelu_{len(factors)}")
        return convolve_shuffled(wide, last, tail, x, prelu)


class SRResNet(Network):
    """Residual blocks with batch normalisation and a sub-pixel upsampler (figure 4).

    (N, H, W, n_colors) in [0, 1] -> (N, scale * H, scale * W, n_colors) in [0, 1], not clipped.
    Training (`train=True`) wants `mutable=["batch_stats"]`.

    The defaults are the paper's figure as Lornatang's PyTorch port reads it; the fields say where
    the other networks of that name differ: Keras (krasserm) has PReLU slopes per channel,
    biases, tanh and epsilon 1e-3; sgrvinod has biases and tanh; leftthomas 5 blocks, biases and
    tanh.

    Attributes:
        scale: 2, 3, 4 (the paper) or 8.
        n_resblocks: B of the paper.
        n_feats: channels.
        n_colors: channels of the image.
        prelu_per_channel: one PReLU slope for each channel instead of one for each PReLU.
        conv_bias: whether the convolutions before batch normalisation have a bias.
        output: 'linear', or 'tanh': (tanh + 1) / 2, for ports that see white as 1, black as -1.
        bn_epsilon: added to the variance by batch normalisation.
    """

    scale: int = 4
    n_resblocks: int = 16
    n_feats: int = 64
    n_colors: int = 3
    prelu_per_channel: bool = False
    conv_bias: bool = False
    output: str = "linear"
    bn_epsilon: float = 1e-5

    pads_in_conv: ClassVar[bool] = True

    @property
    def receptive_radius(self) -> int:
        """LR pixels beyond which an output pixel does not look: head, body, body_conv, upsampler.

        >>> SRResNet().receptive_radius
        40
        """
        return 4 + 2 * self.n_resblocks + 1 + upsampler_radius(self.scale, tail_size=9)

    def check_fields(self) -> None:
        """Raises ValueError for a scale that the upsampler has not, or an unknown output."""
        shuffle_factors(self.scale)
        if self.output not in ("linear", "tanh"):
            raise ValueError(f"output is {self.output!r}; known are 'linear' and 'tanh'")

    @nn.compact
    def __call__(
        self, images: jax.Array, *, scale: int | None = None, train: bool = False
    ) -> jax.Array:
        x = conv(self.n_feats, kernel_size=9, name="head")(images)
        x = PReLU(self.prelu_per_channel, name="head_prelu")(x)
        block = NormalizedResidualBlock(
            self.n_feats, self.prelu_per_channel, self.conv_bias, self.bn_epsilon, name="body"
        )
        y = repeat(block, self.n_resblocks)(x, train=train)
        y = conv(self.n_feats, use_bias=self.conv_bias, name="body_conv")(y)
        x = x + BatchNorm(self.bn_epsilon, name="body_norm")(y, train=train)
        tail = conv(self.n_colors, kernel_size=9, name="tail")
        stages = ShuffleStages(self.scale, self.n_feats, self.prelu_per_channel, name="upsampler")
        x = stages(x, tail)
        return (nn.tanh(x) + 1) / 2 if self.output == "tanh" else x
