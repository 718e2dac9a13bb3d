"""CSNLN: Mei, Fan, Zhou, Huang, Huang, Shi, "Image Super-Resolution with Cross-Scale Non-Local
Attention and Exhaustive Self-Exemplars Mining" (CVPR 2020, arXiv 2006.01424)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from sr_jax.models.layers import Conv, MeanShift, PReLU, uniform_fan_in
from sr_jax.models.network import Network
from sr_jax.ops.attention import attend_maps, cross_scale_attention
from sr_jax.ops.channels import add_bias
from sr_jax.ops.conv import conv2d, strided_conv2d, transposed_conv2d
from sr_jax.ops.loops import loop_body, unrolls
from sr_jax.ops.shuffle import cells_to_space, downscale_bilinear, space_to_cells


class ConvPReLU(nn.Module):
    """Convolution of stride 1, size kept, then a PReLU with one slope."""

    features: int
    kernel_size: int = 3

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return PReLU(name="prelu")(Conv(self.features, self.kernel_size, name="conv")(x))


class Rescale(nn.Module):
    """Strided or transposed convolution by a factor, then a PReLU with one slope.

    Attributes:
        features: output channels.
        factor: 2, 3 or 4: kernel / stride / padding 6/2/2, 9/3/3 or 8/4/2.
        up: transposed, `factor` times larger; else `factor` times smaller.
    """

    features: int
    factor: int
    up: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size, padding = {2: (6, 2), 3: (9, 3), 4: (8, 2)}[self.factor]
        y = _ScaledConv(self.features, size, self.factor, padding, self.up, name="conv")(x)
        return PReLU(name="prelu")(y)


class _ScaledConv(nn.Module):
    features: int
    kernel_size: int
    stride: int
    padding: int
    transposed: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        # PyTorch takes a transposed convolution's outputs for its fan-in.
        fan = self.features if self.transposed else x.shape[-1]
        init = uniform_fan_in(self.kernel_size**2 * fan)
        kernel = self.param("kernel", init, shape).astype(x.dtype)
        bias = self.param("bias", init, (self.features,))
        convolve = transposed_conv2d if self.transposed else strided_conv2d
        y = convolve(x, kernel, self.stride, self.padding)
        return add_bias(y, bias)


class InScaleAttention(nn.Module):
    """Non-local attention of every pixel over all pixels (section 3.1), without a residual."""

    max_scores: int | None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        n_feats = x.shape[-1]
        query = ConvPReLU(n_feats // 2, 1, name="conv_match1")(x)
        key = ConvPReLU(n_feats // 2, 1, name="conv_match2")(x)
        value = ConvPReLU(n_feats, 1, name="conv_assembly")(x)

        return attend_maps(query, key, value, max_scores=self.max_scores)


class CrossScaleAttention(nn.Module):
    """Upscales by patches of the image itself that resemble each other across scales (3.2).

    Keys come from the image made smaller by the factor, values from cells of factor x factor
    pixels at the same places. (N, H, W, C) -> (N, factor * H, factor * W, C).
    """

    factor: int
    max_scores: int | None
    tile: int | None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        n_feats = x.shape[-1]
        norm_floor = self.variable(
            "constants", "escape_NaN", lambda: jnp.full((1,), 1e-4, jnp.float32)
        )
        value = ConvPReLU(n_feats, 1, name="conv_assembly")(x)
        query = ConvPReLU(n_feats // 2, 1, name="conv_match_1")(x)
        key = ConvPReLU(n_feats // 2, 1, name="conv_match_2")(downscale_bilinear(x, self.factor))
        y = cross_scale_attention(
            query,
            key,
            space_to_cells(value, self.factor),
            norm_floor.value[0].astype(x.dtype),
            max_scores=self.max_scores,
            tile=self.tile,
        )
        # The official constant at every factor; in the interior nine patches overlap.
        return cells_to_space(y, self.factor) / 6


class Encoder(nn.Module):
    """x + conv(PReLU(conv(x)))."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = ConvPReLU(x.shape[-1], name="body_0")(x)
        return Conv(x.shape[-1], name="body_1")(y, x)


class MultiSourceProjection(nn.Module):
    """Fuses in-scale and cross-scale attention, `factor` times larger (section 3.3)."""

    factor: int
    max_scores: int | None
    tile: int | None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        in_scale = InScaleAttention(self.max_scores, name="down_attention")(x)
        in_scale = Rescale(x.shape[-1], self.factor, up=True, name="upsample")(in_scale)
        cross_scale = CrossScaleAttention(
            self.factor, self.max_scores, self.tile, name="up_attention"
        )(x)
        return in_scale + Encoder(name="encoder")(cross_scale - in_scale)


class SelfExemplarsMining(nn.Module):
    """One step of the recurrence: (low-resolution, high-resolution) features from the former.

    Section 3.3; the official name is RecurrentProjection. Scale 4 projects by 2 twice.
    """

    scale: int
    max_scores: int | None
    tile: int | None

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        n_feats = x.shape[-1]
        factor = 3 if self.scale == 3 else 2

        def project(x: jax.Array, factor: int, name: str) -> jax.Array:
            return MultiSourceProjection(factor, self.max_scores, self.tile, name=name)(x)

        def up(x: jax.Array, factor: int, name: str) -> jax.Array:
            return Rescale(n_feats, factor, up=True, name=name)(x)

        def down(x: jax.Array, factor: int, name: str) -> jax.Array:
            return Rescale(n_feats, factor, up=False, name=name)(x)

        projected = project(x, factor, "multi_source_projection")
        error = x - down(projected, factor, "down_sample_1")
        large = projected + up(error, factor, "error_encode")
        if self.scale == 4:
            projected = project(large, 2, "multi_source_projection_2")
            error = x - down(projected, 4, "down_sample_3")
            large = projected + up(error, 4, "error_encode_2")
            small = down(large, 4, "down_sample_4")
        else:
            small = down(large, factor, "down_sample_2")
        return ConvPReLU(n_feats, name="post_conv")(small), large


class _Tail(nn.Module):
    """The weights of the last convolution, over `depth` maps of n_feats channels."""

    features: int
    n_feats: int
    depth: int

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        channels = self.depth * self.n_feats
        init = uniform_fan_in(9 * channels)
        kernel = self.param("kernel", init, (3, 3, channels, self.features))
        kernel = kernel.reshape(3, 3, self.depth, self.n_feats, self.features)
        return kernel.transpose(2, 0, 1, 3, 4), self.param("bias", init, (self.features,))


class CSNLN(Network):
    """A cell of in-scale and cross-scale attention, repeated with the same weights (figure 2).

    (N, H, W, 3) in [0, 1] -> (N, scale * H, scale * W, 3); H and W divisible by 2, at scale 3
    by 3. Attention is over the whole image: its time grows with the square of the pixels, its
    memory with the pixels (see `sr_jax.ops.attention`).

    Attributes:
        scale: 2, 3 or 4.
        n_feats: channels; the official code has 128 only.
        depth: recurrences.
        rgb_range: the value that white has inside the network; 1, unlike in EDSR.
        n_colors: channels of the image; the mean shift exists for 3.
        max_scores: attention scores held at once; None leaves it to the device's memory.
        tile: side of the squares of queries in cross-scale attention; None: likewise.
    """

    scale: int = 2
    n_feats: int = 128
    depth: int = 12
    rgb_range: float = 1.0
    n_colors: int = 3
    max_scores: int | None = None
    tile: int | None = None

    @property
    def size_divisor(self) -> int:
        """What both sides of an image are divisible by: the keys' downscaling has no remainder."""
        return 3 if self.scale == 3 else 2

    def check_fields(self) -> None:
        """Raises ValueError for another scale or an odd number of channels."""
        if self.scale not in (2, 3, 4):
            raise ValueError(f"scale is {self.scale}; CSNLN has 2, 3 and 4")
        if self.n_feats % 2:
            raise ValueError(f"n_feats is {self.n_feats}; CSNLN takes even numbers")

    @nn.compact
    def __call__(
        self, images: jax.Array, *, scale: int | None = None, train: bool = False
    ) -> jax.Array:
        self.check_input(images.shape[1], images.shape[2], scale)
        x = images * self.rgb_range
        if self.n_colors == 3:
            x = MeanShift(-1, self.rgb_range, name="sub_mean")(x)
        x = ConvPReLU(self.n_feats, name="head_0")(x)
        x = ConvPReLU(self.n_feats, name="head_1")(x)
        kernels, bias = _Tail(self.n_colors, self.n_feats, self.depth, name="tail")()
        n, height, width, _ = x.shape
        y = jnp.zeros((n, self.scale * height, self.scale * width, self.n_colors), x.dtype)

        # The last convolution over all concatenated maps is a sum over the recurrences: added up
        # as they come, the maps need not be kept. (The last `small` is computed for nothing, as
        # in the official code: under 1 % of the work.)
        def step(
            cell: nn.Module, carry: tuple[jax.Array, jax.Array], kernel: jax.Array
        ) -> tuple[tuple[jax.Array, jax.Array], None]:
            small, large = cell(carry[0])
            return (small, carry[1] + conv2d(large, kernel)), None

        recurrences = nn.scan(
            loop_body(step),
            variable_broadcast=("params", "constants"),
            split_rngs={"params": False},
            length=self.depth,
            unroll=self.depth if unrolls(self.depth, up_to=1) else 1,
        )
        cell = SelfExemplarsMining(self.scale, self.max_scores, self.tile, name="SEM")
        (_, y), _ = recurrences(cell, (x, y), kernels)
        y = add_bias(y, bias)
        if self.n_colors == 3:
            y = MeanShift(+1, self.rgb_range, name="add_mean")(y)
        return y / self.rgb_range

    def check_input(self, height: int, width: int, scale: int | None) -> None:
        """Raises ValueError for sides that the factor of cross-scale attention does not divide."""
        divisor = self.size_divisor
        if height % divisor or width % divisor or min(height, width) < divisor:
            raise ValueError(
                f"this csnln takes images whose sides are divisible by {divisor}; given "
                f"{height}x{width}: crop them, or extend them by replicating their edges"
            )
