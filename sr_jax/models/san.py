"""SAN: Dai, Cai, Zhang, Xia, Zhang, "Second-order Attention Network for Single Image
Super-Resolution" (CVPR 2019)."""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from sr_jax.models.layers import (
    Conv,
    MeanShift,
    ResidualBlock,
    Upsampler,
    repeat,
    shuffle_factors,
)
from sr_jax.models.network import Network
from sr_jax.ops.attention import attend_maps
from sr_jax.ops.channels import covariance, scale_channels
from sr_jax.ops.loops import computes_groups_again
from sr_jax.ops.rows import by_quadrants


def matrix_square_root(matrix: jax.Array, iterations: int = 5) -> jax.Array:
    """Approximate root of symmetric positive semi-definite matrices by Newton-Schulz steps.

    Equation 8 of the paper, with the trace normalisation before and after (equations 7 and 9).
    Five steps are far from convergence: the count is part of the network.

    Args:
        matrix: (..., C, C).
        iterations: number of steps, at least 2.

    Returns:
        (..., C, C). Zero for a zero matrix, where the official code divides 0 by 0.
    """

    def product(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)

    three = 3 * jnp.eye(matrix.shape[-1], dtype=matrix.dtype)
    trace = jnp.trace(matrix, axis1=-2, axis2=-1)[..., None, None]
    trace = jnp.where(trace > jnp.finfo(matrix.dtype).tiny, trace, 1)
    normalised = matrix / trace
    z = 0.5 * (three - normalised)
    y = product(normalised, z)
    for _ in range(iterations - 2):
        zy = 0.5 * (three - product(z, y))
        y, z = product(y, zy), product(zy, z)
    return 0.5 * product(y, three - product(z, y)) * jnp.sqrt(trace)


class SecondOrderChannelAttention(nn.Module):
    """x times a factor in (0, 1) for each channel, from the covariance of channels (section 3.3).

    The covariance is over the centre of the image, at most 1000 x 1000 pixels: as RCAN's, this
    attention is global, and a tile gets other factors than the whole image.

    Attributes:
        reduction: by which the hidden layer is narrower than the channels.
    """

    reduction: int
    largest_side: ClassVar[int] = 1000

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        _, height, width, n_feats = x.shape
        # The official code is wrong where one side is below 1000 and the other exactly 1000: it
        # starts at a negative index there.
        top, left = (max(0, side - self.largest_side) // 2 for side in (height, width))
        centre = x[:, top : top + self.largest_side, left : left + self.largest_side]
        weight = (
            matrix_square_root(covariance(centre)).mean(axis=1)[:, None, None, :].astype(x.dtype)
        )
        weight = nn.relu(Conv(n_feats // self.reduction, kernel_size=1, name="conv_0")(weight))
        weight = nn.sigmoid(Conv(n_feats, kernel_size=1, name="conv_1")(weight))
        return scale_channels(x, weight[:, 0, 0])


class ResidualAttentionGroup(nn.Module):
    """x + conv(attention(blocks(x))) + source: local-source residual attention group (3.2)."""

    n_resblocks: int
    n_feats: int
    reduction: int
    unroll_up_to: int

    @nn.compact
    def __call__(self, x: jax.Array, *, source: jax.Array) -> jax.Array:
        # The paper's factor on the local source. The official code never uses it; checkpoints
        # hold it.
        self.param("gamma", nn.initializers.zeros, (1,))
        block = ResidualBlock(self.n_feats, name="rcab")
        y = repeat(block, self.n_resblocks, unroll_up_to=self.unroll_up_to)(x)
        y = SecondOrderChannelAttention(self.reduction, name="soca")(y)
        return Conv(self.n_feats, name="conv_last")(y, x) + source


class NonLocalBlock(nn.Module):
    """x + W(attention): embedded Gaussian non-local block with keys and values pooled 2 x 2."""

    max_scores: int | None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        n_feats = x.shape[-1]
        hidden = n_feats // 8

        def pooled(name: str) -> jax.Array:
            y = Conv(hidden, kernel_size=1, name=name)(x)
            return nn.max_pool(y, (2, 2), strides=(2, 2))

        query = Conv(hidden, kernel_size=1, name="theta")(x)
        y = attend_maps(query, pooled("phi"), pooled("g"), max_scores=self.max_scores)
        zeros = nn.initializers.zeros
        return x + Conv(n_feats, kernel_size=1, kernel_init=zeros, bias_init=zeros, name="W")(y)


class RegionNonLocal(nn.Module):
    """The same non-local block on each quadrant of the image (region-level, section 3.2)."""

    max_scores: int | None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        # Part of checkpoints; the official code never calls it.
        SecondOrderChannelAttention(8, name="soca")(x[:, :1, :1])
        block = NonLocalBlock(self.max_scores, name="non_local")
        return by_quadrants(block, x)


class SAN(Network):
    """Groups of residual blocks with second-order channel attention and a shared source skip.

    (N, H, W, 3) in [0, 1] -> (N, scale * H, scale * W, 3); H and W at least 4. Follows the
    official code, which differs from the paper: keys and values of the non-local block are
    pooled, no convolution precedes the long skip, and the local source's factors are unused.
    Parameters that no output depends on (`conv_last`, `non_local/soca`, `RG/gamma`) exist because
    checkpoints hold them.

    Attributes:
        scale: 2, 3, 4 or 8.
        n_resgroups: G of the paper.
        n_resblocks: m of the paper, residual blocks in a group.
        n_feats: channels, a multiple of 8.
        reduction: r of the paper, by which channel attention narrows its hidden layer.
        rgb_range: the value that white has inside the network.
        n_colors: channels of the image; the mean shift exists for 3.
        max_scores: attention scores held at once; None leaves it to the device's memory. A
            quadrant of an H x W image has (H * W)**2 / 64 of them.
    """

    scale: int = 2
    n_resgroups: int = 20
    n_resblocks: int = 10
    n_feats: int = 64
    reduction: int = 16
    rgb_range: float = 255.0
    n_colors: int = 3
    max_scores: int | None = None

    @property
    def minimum_size(self) -> int:
        """The least side of an image: every quadrant needs a key, pooled from 2 x 2 pixels."""
        return 4

    def check_fields(self) -> None:
        """Raises ValueError for a scale that the upsampler has not, or unfit channels."""
        shuffle_factors(self.scale)
        if self.reduction > self.n_feats:
            raise ValueError(f"reduction is {self.reduction}, more than n_feats, {self.n_feats}")
        if self.n_feats % 8:
            raise ValueError(f"n_feats is {self.n_feats}; SAN takes multiples of 8")

    @nn.compact
    def __call__(
        self, images: jax.Array, *, scale: int | None = None, train: bool = False
    ) -> jax.Array:
        self.check_input(images.shape[1], images.shape[2], scale)
        x = images * self.rgb_range
        if self.n_colors == 3:
            x = MeanShift(-1, self.rgb_range, name="sub_mean")(x)
        head = Conv(self.n_feats, name="head")(x)
        non_local = RegionNonLocal(self.max_scores, name="non_local")
        x = non_local(head)
        gamma = self.param("gamma", nn.initializers.zeros, (1,)).astype(x.dtype)
        # Elsewhere ten blocks in the body of a loop double the compile time and save nothing.
        again = train and computes_groups_again()
        group = ResidualAttentionGroup(
            self.n_resblocks, self.n_feats, self.reduction, 20 if again else 0, name="RG"
        )
        x = repeat(group, self.n_resgroups, unroll_up_to=0, again=again)(x, source=gamma * x)
        x = non_local(x) + head
        Conv(self.n_feats, name="conv_last")(x[:, :1, :1])  # in checkpoints, but unused
        tail = Conv(self.n_colors, name="tail")
        x = Upsampler(self.scale, self.n_feats, name="upsampler")(x, tail)
        if self.n_colors == 3:
            x = MeanShift(+1, self.rgb_range, name="add_mean")(x)
        return x / self.rgb_range

    def check_input(self, height: int, width: int, scale: int | None) -> None:
        """Raises ValueError for images whose quadrants would have no keys."""
        if min(height, width) < self.minimum_size:
            raise ValueError(
                f"SAN takes images of at least {self.minimum_size}x{self.minimum_size} pixels; "
                f"given {height}x{width}: extend them, for example by replicating their edges"
            )
