"""EDSR: Lim, Son, Kim, Nah, Lee, "Enhanced Deep Residual Networks for Single Image
Super-Resolution" (CVPR Workshops 2017, arXiv 1707.02921)."""

from typing import ClassVar

import flax.linen as nn
import jax

from sr_jax.models.layers import (
    Conv,
    MeanShift,
    ResidualBlock,
    Upsampler,
    repeat,
    shuffle_factors,
    upsampler_radius,
)
from sr_jax.models.network import Network


class EDSR(Network):
    """Residual blocks without normalisation, a long skip and a sub-pixel upsampler (figure 3).

    (N, H, W, 3) in [0, 1] -> (N, scale * H, scale * W, 3).

    Attributes:
        scale: 2, 3 or 4.
        n_resblocks: B of the paper, 32 (baseline 16).
        n_feats: F of the paper, 256 (baseline 64).
        res_scale: factor on every residual branch, 0.1 (baseline 1).
        rgb_range: the value that white has inside the network.
        n_colors: channels of the image; the mean shift exists for 3.
    """

    scale: int = 2
    n_resblocks: int = 32
    n_feats: int = 256
    res_scale: float = 0.1
    rgb_range: float = 255.0
    n_colors: int = 3

    pads_in_conv: ClassVar[bool] = True

    @property
    def receptive_radius(self) -> int:
        """LR pixels beyond which an output pixel does not look: head, body, body_conv, upsampler.

        >>> EDSR().receptive_radius
        68
        """
        return 1 + 2 * self.n_resblocks + 1 + upsampler_radius(self.scale)

    def check_fields(self) -> None:
        """Raises ValueError for a scale that the upsampler has not."""
        shuffle_factors(self.scale)

    @nn.compact
    def __call__(
        self, images: jax.Array, *, scale: int | None = None, train: bool = False
    ) -> jax.Array:
        x = images * self.rgb_range
        if self.n_colors == 3:
            x = MeanShift(-1, self.rgb_range, name="sub_mean")(x)
        x = Conv(self.n_feats, name="head")(x)
        block = ResidualBlock(self.n_feats, res_scale=self.res_scale, name="body")
        y = repeat(block, self.n_resblocks)(x)
        x = Conv(self.n_feats, name="body_conv")(y, x)
        tail = Conv(self.n_colors, name="tail")
        x = Upsampler(self.scale, self.n_feats, name="upsampler")(x, tail)
        if self.n_colors == 3:
            x = MeanShift(+1, self.rgb_range, name="add_mean")(x)
        return x / self.rgb_range
