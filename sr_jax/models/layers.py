"""What two or more networks share: layers, normalisation, upsampler, mean shift, blocks.

Layout is NHWC for images and HWIO for kernels. Parameters are stored in float32 and cast to the
dtype of the images that pass through, so one set of weights serves bfloat16, float32 and float64.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sr_jax.ops.activations import relu
from sr_jax.ops.channels import add_bias, scale_channels
from sr_jax.ops.conv import conv2d, shuffled_conv2d
from sr_jax.ops.devices import sharing_devices
from sr_jax.ops.direct import Finish
from sr_jax.ops.loops import loop_body, unrolls
from sr_jax.ops.normalization import normalise_batch
from sr_jax.ops.shuffle import pixel_shuffle
from sr_jax.ops.target import for_one_cpu, keeps_loops

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)  # RGB mean of DIV2K's 800 training images, range [0, 1]

Initializer = Callable[..., jax.Array]


def uniform_fan_in(fan_in: int) -> Initializer:
    """Uniform in (-b, b), b = 1 / sqrt(fan_in): PyTorch's default for weights and biases alike."""
    bound = 1.0 / np.sqrt(fan_in)

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class Conv(nn.Module):
    """k x k convolution, stride 1, size kept by default (fact sheet section 0).

    Attributes:
        features: output channels.
        kernel_size: k, odd.
        use_bias: whether a bias is added.
        padding: 'zeros', 'replicate' or 'valid' (see `conv2d`).
        kernel_init, bias_init: None takes PyTorch's default, uniform in +-1/sqrt(k * k * C_in).
        activation: elementwise function of the result.
        residual_scale: factor on the result before it is added to `skip`.
    """

    features: int
    kernel_size: int = 3
    use_bias: bool = True
    padding: str = "zeros"
    kernel_init: Initializer | None = None
    bias_init: Initializer | None = None
    activation: Callable[[jax.Array], jax.Array] | None = None
    residual_scale: float = 1.0

    def __call__(self, x: jax.Array, skip: jax.Array | None = None) -> jax.Array:
        """The layer.

        Args:
            x: (N, H, W, C).
            skip: of the result's shape, added to it.
        """
        kernel, finish, operands = self.parts(x.shape[-1])
        if skip is None:
            return conv2d(x, kernel, self.padding, finish, *operands)

        def add(y: jax.Array, skip: jax.Array, *operands: jax.Array) -> jax.Array:
            return skip + finish(y, *operands)

        return conv2d(x, kernel, self.padding, add, skip, *operands)

    @nn.compact
    def parts(self, channels: int) -> tuple[jax.Array, Finish, list[jax.Array]]:
        """What `conv2d` takes besides an image of so many channels: kernel, finish, operands."""
        shape = (self.kernel_size, self.kernel_size, channels, self.features)
        default = uniform_fan_in(int(np.prod(shape[:3])))
        kernel = self.param("kernel", self.kernel_init or default, shape)
        operands = []
        if self.use_bias:
            operands.append(self.param("bias", self.bias_init or default, (self.features,)))
        activation, factor = self.activation, self.residual_scale

        def finish(y: jax.Array, *operands: jax.Array) -> jax.Array:
            if operands:
                y = add_bias(y, *operands)
            if activation:
                y = activation(y)
            return y if factor == 1 else y * factor

        return kernel, finish, operands


class MeanShift(nn.Module):
    """Subtracts (sign -1) or adds (sign +1) the DIV2K mean: a fixed 1x1 convolution 3 -> 3.

    The kernel and bias are constants, kept as a checkpoint has them and never trained. (The RCAN
    and SAN repositories train them by an oversight, so their checkpoints may differ from the
    identity.)

    Attributes:
        sign: -1 or +1.
        rgb_range: the value that white has inside the network.
    """

    sign: int
    rgb_range: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        mean = np.asarray(DIV2K_MEAN, np.float32)
        kernel = self.variable("constants", "kernel", lambda: jnp.eye(3)[None, None])
        bias = self.variable(
            "constants", "bias", lambda: jnp.asarray(np.float32(self.rgb_range * self.sign) * mean)
        )
        # HIGHEST: TF32 would round pixel values to 10 bits.
        shifted = jnp.einsum(
            "nhwc,cd->nhwd", x, kernel.value[0, 0].astype(x.dtype), precision=lax.Precision.HIGHEST
        )
        return shifted + bias.value.astype(x.dtype)


class BatchNorm(nn.Module):
    """Batch normalisation over N, H and W, with PyTorch's running statistics (section 0.4).

    Training normalises with the batch's own mean and biased variance and keeps running averages
    of the mean and the unbiased variance: flax.linen's layer keeps the biased one, and PyTorch's
    checkpoints would drift. Of a batch that is split over devices the statistics are global.

    Variables: `scale` and `bias` are parameters, `mean` and `var` batch statistics;
    `num_batches_tracked` is a constant that PyTorch's checkpoints carry and nothing here reads.

    Attributes:
        epsilon: added to the variance.
        momentum: share of the old value in a running average (1 - PyTorch's momentum).
    """

    epsilon: float = 1e-5
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        shape = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape, jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32)
        self.variable("constants", "num_batches_tracked", jnp.zeros, (), jnp.int32)

        dtype = jnp.promote_types(x.dtype, jnp.float32)  # sums of bfloat16 lose the small terms
        scale, bias = scale.astype(dtype), bias.astype(dtype)
        if not train or self.is_initializing():
            mean, var = running_mean.value.astype(dtype), running_var.value.astype(dtype)
            factor = scale * lax.rsqrt(var + self.epsilon)
            return (scale_channels(x.astype(dtype) - mean, factor) + bias).astype(x.dtype)
        count = sharing_devices() * x.size // x.shape[-1]
        if count < 2:
            raise ValueError(
                f"batch normalisation cannot train on one value a channel: given {x.shape}"
            )
        y, mean, var = normalise_batch(self.epsilon, x, scale, bias)
        for running, new in ((running_mean, mean), (running_var, var * count / (count - 1))):
            average = self.momentum * running.value + (1 - self.momentum) * new
            running.value = average.astype(running.value.dtype)
        return y


class PReLU(nn.Module):
    """max(x, 0) + slope * min(x, 0) with a trained slope that starts at 0.25.

    Attributes:
        per_channel: one slope for each channel; by default one for all (section 3).
    """

    per_channel: bool = False

    def __call__(self, x: jax.Array) -> jax.Array:
        return prelu(x, self.slopes(x.shape[-1]))

    @nn.compact
    def slopes(self, channels: int) -> jax.Array:
        """The slopes of so many channels, (C,)."""
        shape = (channels if self.per_channel else 1,)
        slope = self.param("slope", nn.initializers.constant(0.25), shape, jnp.float32)
        return jnp.broadcast_to(slope, (channels,))


def prelu(x: jax.Array, slopes: jax.Array) -> jax.Array:
    """max(x, 0) + slopes * min(x, 0) of (N, H, W, C), with slopes of (C,)."""
    return jnp.where(x > 0, x, scale_channels(x, slopes))


def convolve_shuffled(
    conv: Conv, factor: int, tail: Conv, x: jax.Array, activation: PReLU | None = None
) -> jax.Array:
    """tail(activation(pixel_shuffle(conv(x), factor))), in one piece where that is faster.

    Args:
        conv: to factor**2 times as many channels as `tail` takes.
        factor: of the shuffle.
        tail: with zeros around its input, as `conv`.
        x: (N, H, W, C).
        activation: none by default.
    """
    # Inside `kept_loops` each layer pads the images by itself: `sr_jax.inference.canvas`.
    if conv.is_initializing() or keeps_loops() or not for_one_cpu():
        y = pixel_shuffle(conv(x), factor)
        return tail(activation(y) if activation else y)
    channels = conv.features // factor**2
    kernel, finish, operands = conv.parts(x.shape[-1])
    last, finish_last, last_operands = tail.parts(channels)
    if activation:
        slopes = jnp.repeat(activation.slopes(channels), factor**2)  # as the shuffle takes them

        def finish_and_activate(y: jax.Array, slopes: jax.Array, *operands: jax.Array) -> jax.Array:
            return prelu(finish(y, *operands), slopes)

        y = shuffled_conv2d(x, kernel, last, factor, finish_and_activate, slopes, *operands)
    else:
        y = shuffled_conv2d(x, kernel, last, factor, finish, *operands)
    return finish_last(y, *last_operands)


def shuffle_factors(scale: int) -> tuple[int, ...]:
    """The stages of a sub-pixel upsampler: one x3 for scale 3, x2 for each power of two.

    Raises:
        ValueError: a scale other than 2, 3, 4 and 8.
    """
    stages = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}
    if scale not in stages:
        raise ValueError(f"scale is {scale}; the sub-pixel upsampler has 2, 3, 4 and 8")
    return stages[scale]


def upsampler_radius(scale: int, tail_size: int = 3) -> int:
    """The receptive radius of a sub-pixel upsampler and the convolution after it, input pixels.

    The last pixel of a cell sees farthest to the right. It is followed backwards through the last
    convolution and, for every stage, the shuffle and the 3x3 convolution before it.

    >>> upsampler_radius(2), upsampler_radius(4, tail_size=9)
    (2, 3)

    Args:
        scale: 2, 3, 4 or 8.
        tail_size: kernel size of the convolution after the upsampler.
    """
    farthest = scale - 1 + tail_size // 2
    for factor in reversed(shuffle_factors(scale)):
        farthest = farthest // factor + 1
    return farthest


class Upsampler(nn.Module):
    """Sub-pixel upsampler of EDSR, MDSR, RCAN and SAN: convolution and shuffle, no activation.

    One x3 stage for scale 3, log2(scale) stages of x2 for a power of two.

    Attributes:
        scale: 2, 3, 4 or 8.
        n_feats: channels in and out.
    """

    scale: int
    n_feats: int

    @nn.compact
    def __call__(self, x: jax.Array, tail: Conv) -> jax.Array:
        """(N, H, W, n_feats) to (N, scale * H, scale * W, n_feats), and what `tail` makes of it."""
        *factors, last = shuffle_factors(self.scale)
        for index, factor in enumerate(factors):
            x = pixel_shuffle(Conv(self.n_feats * factor**2, name=f"conv_{index}")(x), factor)
        conv = Conv(self.n_feats * last**2, name=f"conv_{len(factors)}")
        return convolve_shuffled(conv, last, tail, x)


class ResidualBlock(nn.Module):
    """x + res_scale * conv(ReLU(conv(x))), without normalisation (Lim et al., CVPRW 2017, fig. 2c).

    Attributes:
        n_feats: channels.
        kernel_size: of both convolutions.
        res_scale: factor on the residual branch, applied before the addition.
    """

    n_feats: int
    kernel_size: int = 3
    res_scale: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = functools.partial(Conv, self.n_feats, self.kernel_size)
        y = conv(activation=relu, name="conv_0")(x)
        return conv(residual_scale=self.res_scale, name="conv_1")(y, x)


def repeat(
    module: nn.Module, length: int, *, unroll_up_to: int = 20, again: bool = False
) -> Callable:
    """Applies `length` copies of a module in a row, their variables stacked on a leading axis.

    `lax.scan` keeps the compile time independent of the depth. Up to `unroll_up_to` copies, and
    any number on a GPU, are unrolled instead: that runs a little faster and still compiles in
    seconds. The variables of all collections are stored alike in both cases.

    Args:
        module: a module that maps an array to one of the same shape; its name names the stack.
            It may itself repeat another: then the variables have two leading axes.
        length: number of copies, each with variables of its own.
        unroll_up_to: the longest stack that is unrolled.
        again: whether the backward pass computes each copy again, in place of keeping what it
            needs; a stack that is unrolled must not ask for it.

    Returns:
        A function of the array; keyword arguments (`train`) go to every copy.
    """

    def apply(x: jax.Array, **options: Any) -> jax.Array:
        # Random draws compile slowly, so that initialisation is always a loop.
        unroll = unrolls(length, unroll_up_to) and not module.is_initializing()
        stacked = nn.scan(
            loop_body(lambda copy, x, _: (copy(x, **options), None), again=again),
            variable_axes={"params": 0, "batch_stats": 0, "constants": 0},
            split_rngs={"params": True},
            length=length,
            unroll=length if unroll else 1,
        )
        return stacked(module, x, None)[0]

    return apply
