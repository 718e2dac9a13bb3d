"""MDSR: Lim, Son, Kim, Nah, Lee, "Enhanced Deep Residual Networks for Single Image
Super-Resolution" (CVPR Workshops 2017, arXiv 1707.02921), section 3.3."""

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


class MDSR(Network):
    """One body for several scales, with pre-processing and upsampler for each (figure 5).

    (N, H, W, 3) in [0, 1] -> (N, scale * H, scale * W, 3), for the `scale` given in the call.
    `init` makes the parameters of all scales and needs no scale.

    Attributes:
        scales: those of the network.
        n_resblocks: of the shared body, 80 (baseline 16), without residual scaling.
        n_feats: channels.
        rgb_range: the value that white has inside the network.
        n_colors: channels of the image; the mean shift exists for 3.
    """

    scales: tuple[int, ...] = (2, 3, 4)
    n_resblocks: int = 80
    n_feats: int = 64
    rgb_range: float = 255.0
    n_colors: int = 3

    pads_in_conv: ClassVar[bool] = True

    @property
    def receptive_radius(self) -> int:
        """LR pixels beyond which an output pixel does not look, at the widest of the scales.

        Head, two blocks of 5x5 convolutions, body, body_conv, upsampler.

        >>> MDSR().receptive_radius
        172
        """
        return 1 + 8 + 2 * self.n_resblocks + 1 + max(map(upsampler_radius, self.scales))

    def check_fields(self) -> None:
        """Raises ValueError for scales that the upsampler has not, or one that comes twice."""
        for scale in self.scales:
            shuffle_factors(scale)
        if len(set(self.scales)) < len(self.scales):
            raise ValueError(f"scales are {self.scales}: each may come once")

    @nn.compact
    def __call__(
        self, images: jax.Array, *, scale: int | None = None, train: bool = False
    ) -> jax.Array:
        if self.is_initializing() and scale is None:
            scale = self.scales[0]
        self.check_input(images.shape[1], images.shape[2], scale)
        # The other scales' branches run only to make their parameters.
        branches = [s for s in self.scales if s == scale or self.is_initializing()]

        x = images * self.rgb_range
        if self.n_colors == 3:
            x = MeanShift(-1, self.rgb_range, name="sub_mean")(x)
        x = Conv(self.n_feats, name="head")(x)
        outputs: dict[int | None, jax.Array] = {}
        for branch in branches:
            block = ResidualBlock(self.n_feats, kernel_size=5, name=f"pre_process_x{branch}")
            outputs[branch] = repeat(block, 2)(x)
        x = outputs[scale]
        y = repeat(ResidualBlock(self.n_feats, name="body"), self.n_resblocks)(x)
        x = Conv(self.n_feats, name="body_conv")(y, x)
        tail = Conv(self.n_colors, name="tail")
        for branch in branches:
            upsampler = Upsampler(branch, self.n_feats, name=f"upsampler_x{branch}")
            outputs[branch] = upsampler(x, tail)
        x = outputs[scale]
        if self.n_colors == 3:
            x = MeanShift(+1, self.rgb_range, name="add_mean")(x)
        return x / self.rgb_range

    def check_input(self, height: int, width: int, scale: int | None) -> None:
        """Raises ValueError unless `scale` is one of the network's."""
        if scale not in self.scales:
            raise ValueError(
                f"this MDSR upscales by {', '.join(map(str, self.scales))}: say by which with "
                f"`scale`; given {scale}"
            )

    def branch(self, layer: str) -> int | None:
        """The scale that alone uses a layer of `params`; None for a layer that all scales use."""
        name, _, scale = layer.rpartition("_x")
        return int(scale) if name in ("pre_process", "upsampler") else None
