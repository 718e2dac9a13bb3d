"""RCAN: Zhang, Li, Li, Wang, Zhong, Fu, "Image Super-Resolution Using Very Deep Residual Channel
Attention Networks" (ECCV 2018, arXiv 1807.02758)."""

import flax.linen as nn
import jax

from sr_jax.models.layers import Conv, MeanShift, Upsampler, repeat, shuffle_factors
from sr_jax.models.network import Network
from sr_jax.ops.activations import relu
from sr_jax.ops.channels import global_average_pool, scale_channels
from sr_jax.ops.loops import computes_groups_again


class ChannelAttention(nn.Module):
    """x times a factor in (0, 1) for each channel, from its mean over the image (section 3.3).

    The mean is over all that is given: a tile gets other factors than the whole image.
    """

    reduction: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        n_feats = x.shape[-1]
        weight = global_average_pool(x)[:, None, None]
        weight = nn.relu(Conv(n_feats // self.reduction, kernel_size=1, name="conv_0")(weight))
        weight = nn.sigmoid(Conv(n_feats, kernel_size=1, name="conv_1")(weight))
        return scale_channels(x, weight[:, 0, 0])


class ResidualChannelAttentionBlock(nn.Module):
    """x + attention(conv(ReLU(conv(x)))) (section 3.4); the official code scales no residual."""

    n_feats: int
    reduction: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = Conv(self.n_feats, activation=relu, name="conv_0")(x)
        y = Conv(self.n_feats, name="conv_1")(y)
        return x + ChannelAttention(self.reduction, name="attention")(y)


class ResidualGroup(nn.Module):
    """x + conv(blocks(x)): the short skip connection of figure 2."""

    n_resblocks: int
    n_feats: int
    reduction: int
    unroll_up_to: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        block = ResidualChannelAttentionBlock(self.n_feats, self.reduction, name="blocks")
        y = repeat(block, self.n_resblocks, unroll_up_to=self.unroll_up_to)(x)
        return Conv(self.n_feats, name="conv")(y, x)


class RCAN(Network):
    """Residual in residual with channel attention (figure 2).

    (N, H, W, 3) in [0, 1] -> (N, scale * H, scale * W, 3).

    Attributes:
        scale: 2, 3, 4 or 8.
        n_resgroups: G of the paper.
        n_resblocks: B of the paper, blocks in a group.
        n_feats: channels.
        reduction: r of the paper, by which channel attention narrows its hidden layer.
        rgb_range: the value that white has inside the network.
        n_colors: channels of the image; the mean shift exists for 3.
    """

    scale: int = 2
    n_resgroups: int = 10
    n_resblocks: int = 20
    n_feats: int = 64
    reduction: int = 16
    rgb_range: float = 255.0
    n_colors: int = 3

    def check_fields(self) -> None:
        """Raises ValueError for a scale that the upsampler has not, or too large a reduction."""
        shuffle_factors(self.scale)
        if self.reduction > self.n_feats:
            raise ValueError(f"reduction is {self.reduction}, more than n_feats, {self.n_feats}")

    @nn.compact
    def __call__(
        self, images: jax.Array, *, scale: int | None = None, train: bool = False
    ) -> jax.Array:
        # Groups times blocks would be written out: what counts is their product.
        few = self.n_resgroups * self.n_resblocks <= 20
        again = train and not few and computes_groups_again()
        x = images * self.rgb_range
        if self.n_colors == 3:
            x = MeanShift(-1, self.rgb_range, name="sub_mean")(x)
        x = Conv(self.n_feats, name="head")(x)
        group = ResidualGroup(
            self.n_resblocks, self.n_feats, self.reduction, 20 if few or again else 0, name="body"
        )
        y = repeat(group, self.n_resgroups, unroll_up_to=20 if few else 0, again=again)(x)
        x = Conv(self.n_feats, name="body_conv")(y, x)
        tail = Conv(self.n_colors, name="tail")
        x = Upsampler(self.scale, self.n_feats, name="upsampler")(x, tail)
        if self.n_colors == 3:
            x = MeanShift(+1, self.rgb_range, name="add_mean")(x)
        return x / self.rgb_range
