"""VDSR: Kim, Lee, Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional Networks"
(CVPR 2016, arXiv 1511.04587)."""

import functools
from typing import ClassVar

import flax.linen as nn
import jax

from sr_jax.models.layers import Conv, MeanShift, repeat
from sr_jax.models.network import Network
from sr_jax.ops.activations import relu


class VDSR(Network):
    """Twenty 3x3 convolutions that predict the residual of an interpolated image.

    (N, H, W, n_colors) in [0, 1], already interpolated to the output size -> the same shape.
    One set of weights serves the scales 2, 3 and 4.

    Attributes:
        depth: number of convolutions, the first and the last included.
        n_feats: hidden width.
        use_bias: True as the authors' released weights, False as the popular PyTorch port.
        n_colors: 1 for luma (the paper); 3 adds the mean shift of the EDSR repository's port,
            where the global skip starts after the mean is subtracted.
        rgb_range: the value that white has inside the network.
        scale: not used; the network is the same for every scale.
    """

    depth: int = 20
    n_feats: int = 64
    use_bias: bool = True
    n_colors: int = 1
    rgb_range: float = 1.0
    scale: int | None = None

    takes_interpolated: ClassVar[bool] = True
    pads_in_conv: ClassVar[bool] = True

    @property
    def receptive_radius(self) -> int:
        """Pixels of the interpolated image beyond which an output pixel does not look."""
        return self.depth

    def check_fields(self) -> None:
        """Raises ValueError for fewer than two convolutions."""
        if self.depth < 2:
            raise ValueError(f"depth is {self.depth}; VDSR has 2 convolutions at least")

    @nn.compact
    def __call__(
        self, images: jax.Array, *, scale: int | None = None, train: bool = False
    ) -> jax.Array:
        x = images * self.rgb_range
        if self.n_colors == 3:
            x = MeanShift(-1, self.rgb_range, name="sub_mean")(x)
        # He et al. over the fan-out, as the PyTorch ports; the paper says He et al. only.
        conv = functools.partial(
            Conv,
            use_bias=self.use_bias,
            kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
            bias_init=nn.initializers.zeros,
        )
        y = conv(self.n_feats, activation=relu, name="head")(x)
        y = repeat(conv(self.n_feats, activation=relu, name="body"), self.depth - 2)(y)
        x = x + conv(self.n_colors, name="tail")(y)
        if self.n_colors == 3:
            x = MeanShift(+1, self.rgb_range, name="add_mean")(x)
        return x / self.rgb_range
