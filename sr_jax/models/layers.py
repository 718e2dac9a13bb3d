"""What two or more networks share: convolution, normalisation, upsampler, mean shift, blocks.

Layout is NHWC for images and HWIO for kernels. Parameters are stored in float32 and cast to the
dtype of the images that pass through, so one set of weights serves bfloat16, float32 and float64.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sr_jax.models import winograd
from sr_jax.models.rows import by_rows, image_devices
from sr_jax.sharding import mean_over_devices, sharing_devices

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)  # RGB mean of DIV2K's 800 training images, range [0, 1]

Initializer = Callable[..., jax.Array]
Sides = tuple[int, int]


def _convolution(x: jax.Array, kernel: jax.Array, padding: Sides = (0, 0)) -> jax.Array:
    """Cross-correlation of (N, H, W, C) with (kh, kw, C, D), stride 1.

    Args:
        x, kernel: the operands.
        padding: zeros above and below, zeros left and right.
    """
    borders = tuple((each, each) for each in padding)
    return lax.conv_general_dilated(
        x, kernel, (1, 1), borders, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


# XLA:CPU's convolution is a matrix product that is slow with fewer columns than this, one for
# every output channel.
_FEW = 8
_SMALL = 300_000  # values that are copied faster than its loops run over few channels

_textbook = contextvars.ContextVar("textbook", default=False)


@contextlib.contextmanager
def textbook_convolutions() -> Iterator[None]:
    """While a network is traced: every convolution is one, on all platforms; for counting."""
    token = _textbook.set(True)
    try:
        yield
    finally:
        _textbook.reset(token)


def _taps_as_channels(x: jax.Array, kernel: jax.Array, padding: Sides) -> jax.Array:
    """`_convolution` to few channels, as one to many whose shifted sum is the result.

    What the rows of the kernel would add up (of one output channel: its rows and columns) is
    computed as channels of their own: 2 to 5 times faster on CPU.
    """
    kh, kw, channels, features = kernel.shape
    x = _surround(x, padding)
    height, width = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    if features > 1:
        rows = kernel.transpose(1, 2, 0, 3).reshape(1, kw, channels, kh * features)
        terms = _convolution(x, rows).reshape(*x.shape[:2], width, kh, features)
        return _total(terms[:, i : i + height, :, i] for i in range(kh))
    terms = jnp.einsum("nhwc,ijc->nhwij", x, kernel[..., 0])
    shifts = ((i, j) for i in range(kh) for j in range(kw))
    return _total(terms[:, i : i + height, j : j + width, i, j, None] for i, j in shifts)


def _shifts_as_channels(x: jax.Array, kernel: jax.Array, padding: Sides) -> jax.Array:
    """`_convolution` of few channels, as one of many: the pixels that a row of the kernel sees."""
    kh, kw, channels, features = kernel.shape
    x = _surround(x, padding)
    width = x.shape[2] - kw + 1
    x = jnp.concatenate([x[:, :, j : j + width] for j in range(kw)], axis=-1)
    return _convolution(x, kernel.reshape(kh, 1, kw * channels, features))


def _total(terms: Iterable[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, terms)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _conv2d(plain: bool, padding: Sides, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`_convolution` with a gradient that is fast in loops, also on CPU.

    Args:
        plain: as one convolution; else in the form that is fastest for its shape on CPU.
        padding, x, kernel: see `_convolution`.
    """
    if plain:
        return _convolution(x, kernel, padding)
    if kernel.shape[3] < _FEW:
        return _taps_as_channels(x, kernel, padding)
    if winograd.suits(x, kernel):
        return winograd.convolve(x, kernel, padding)
    if kernel.shape[1] > 3 and kernel.shape[2] < _FEW and x.size * kernel.shape[1] < _SMALL:
        return _shifts_as_channels(x, kernel, padding)
    return _convolution(x, kernel, padding)


def _conv2d_forward(
    plain: bool, padding: Sides, x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _conv2d(plain, padding, x, kernel), (x, kernel)


def _conv2d_backward(
    plain: bool, padding: Sides, saved: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    # Autodiff's convolutions carry permuted dimension numbers. XLA:CPU puts those in order in the
    # entry computation only, so that in the body of a loop they run 60 to 110 times slower.
    # Both gradients are therefore written as plain NHWC/HWIO convolutions.
    x, kernel = saved
    around = (kernel.shape[0] - 1 - padding[0], kernel.shape[1] - 1 - padding[1])
    grad_x = _conv2d(plain, around, cotangent, kernel[::-1, ::-1].swapaxes(2, 3))
    if kernel.shape[3] < _FEW and not plain:
        # The image slides over the cotangent, so that its channels are those of the result.
        flipped = _correlate(cotangent, x, around)
        return grad_x, flipped[:, ::-1, ::-1].transpose(1, 2, 3, 0)
    return grad_x, _correlate(x, cotangent, padding).transpose(1, 2, 0, 3)


def _correlate(x: jax.Array, y: jax.Array, padding: Sides) -> jax.Array:
    """(N, H, W, C) and (N, H', W', D) -> (C, .., .., D): sums over the images and all of `y`."""
    x, y = x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)
    # The barrier keeps the zeros out of the convolution, which takes twice as long with them.
    x = lax.optimization_barrier(_surround(x, padding))
    return _convolution(x, y)


def _surround(x: jax.Array, padding: Sides, mode: str = "constant") -> jax.Array:
    """Pads (N, H, W, C) above and below, left and right."""
    return jnp.pad(x, ((0, 0), *((each, each) for each in padding), (0, 0)), mode=mode)


_conv2d.defvjp(_conv2d_forward, _conv2d_backward)


def conv2d(x: jax.Array, kernel: jax.Array, padding: str = "zeros") -> jax.Array:
    """Stride-1 cross-correlation with a gradient that stays fast inside loops.

    Args:
        x: (N, H, W, C).
        kernel: (kh, kw, C, D) with odd kh and kw.
        padding: 'zeros' or 'replicate' keep (H, W); 'valid' gives (H - kh + 1, W - kw + 1).

    Returns:
        (N, H', W', D) in the dtype of `x`.

    Raises:
        ValueError: unknown padding.
    """
    modes = ("zeros", "replicate", "valid")
    if padding not in modes:
        raise ValueError(f"padding is {padding!r}; known are {', '.join(map(repr, modes))}")
    kernel = kernel.astype(x.dtype)
    height, width = kernel.shape[:2]
    if height == width == 1:  # a matrix product is over twice as fast as a 1x1 convolution
        return jnp.einsum("nhwc,cd->nhwd", x, kernel[0, 0])
    around = (height // 2, width // 2)
    if padding == "replicate":
        x = _surround(x, around, mode="edge")
    # JAX keeps what it traced of a function with a gradient of its own, whatever the context.
    plain = _textbook.get() or jax.default_backend() != "cpu" or image_devices() > 1
    return _conv2d(plain, around if padding == "zeros" else (0, 0), x, kernel)


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
        activation: applied to the result, for layers that are repeated.
    """

    features: int
    kernel_size: int = 3
    use_bias: bool = True
    padding: str = "zeros"
    kernel_init: Initializer | None = None
    bias_init: Initializer | None = None
    activation: Callable[[jax.Array], jax.Array] | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        default = uniform_fan_in(int(np.prod(shape[:3])))
        y = conv2d(x, self.param("kernel", self.kernel_init or default, shape), self.padding)
        if self.use_bias:
            bias = self.param("bias", self.bias_init or default, (self.features,))
            y = y + bias.astype(x.dtype)
        return self.activation(y) if self.activation else y


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
        y = x.astype(dtype)
        if train and not self.is_initializing():
            count = sharing_devices() * x.size // x.shape[-1]
            if count < 2:
                raise ValueError(
                    f"batch normalisation cannot train on one value a channel: given {x.shape}"
                )
            mean = mean_over_devices(y.mean((0, 1, 2)))
            var = mean_over_devices(jnp.square(y - mean).mean((0, 1, 2)))
            for running, new in ((running_mean, mean), (running_var, var * count / (count - 1))):
                average = self.momentum * running.value + (1 - self.momentum) * new
                running.value = average.astype(running.value.dtype)
        else:
            mean, var = running_mean.value.astype(dtype), running_var.value.astype(dtype)
        factor = scale.astype(dtype) * lax.rsqrt(var + self.epsilon)
        return ((y - mean) * factor + bias.astype(dtype)).astype(x.dtype)


class PReLU(nn.Module):
    """max(x, 0) + slope * min(x, 0) with a trained slope that starts at 0.25.

    Attributes:
        per_channel: one slope for each channel; by default one for all (section 3).
    """

    per_channel: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (x.shape[-1] if self.per_channel else 1,)
        slope = self.param("slope", nn.initializers.constant(0.25), shape, jnp.float32)
        return jnp.where(x > 0, x, slope.astype(x.dtype) * x)


def pixel_shuffle(x: jax.Array, factor: int) -> jax.Array:
    """Sub-pixel rearrangement in PyTorch's channel order (Shi et al., CVPR 2016, equation 4).

    Args:
        x: (N, H, W, C * factor**2); channel c * factor**2 + i * factor + j goes to row
            factor * h + i, column factor * w + j of channel c. (TensorFlow's depth_to_space
            orders the channels (i, j, c) instead.)
        factor: upsampling factor.

    Returns:
        (N, factor * H, factor * W, C).
    """

    def shuffle(x: jax.Array) -> jax.Array:
        n, h, w, c = x.shape
        x = x.reshape(n, h, w, c // factor**2, factor, factor).transpose(0, 1, 4, 2, 5, 3)
        return x.reshape(n, h * factor, w * factor, c // factor**2)

    return by_rows(shuffle, x)


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
    """How far a sub-pixel upsampler and the convolution after it look, in pixels of their input.

    The last pixel of a cell sees farthest to the right. From there it goes backwards: the last
    convolution, then, for every stage, the shuffle and the 3x3 convolution before it.

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
    def __call__(self, x: jax.Array) -> jax.Array:
        for index, factor in enumerate(shuffle_factors(self.scale)):
            x = Conv(self.n_feats * factor**2, name=f"conv_{index}")(x)
            x = pixel_shuffle(x, factor)
        return x


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
        y = nn.relu(Conv(self.n_feats, self.kernel_size, name="conv_0")(x))
        y = Conv(self.n_feats, self.kernel_size, name="conv_1")(y)
        return x + y * self.res_scale


_rematerialises = contextvars.ContextVar("rematerialises", default=False)


@contextlib.contextmanager
def rematerialisation(enabled: bool) -> Iterator[None]:
    """While a network is traced: whether its backward pass computes repeated blocks again.

    Then only what goes from block to block is kept: less memory, more time, the same values.
    """
    token = _rematerialises.set(enabled)
    try:
        yield
    finally:
        _rematerialises.reset(token)


def loop_body(function: Callable) -> Callable:
    """A function for `nn.scan`, subject to `rematerialisation`."""
    return nn.remat(function) if _rematerialises.get() else function


def repeat(module: nn.Module, length: int, *, unroll_up_to: int = 20) -> Callable:
    """Applies `length` copies of a module in a row, their variables stacked on a leading axis.

    `lax.scan` keeps the compile time independent of the depth; up to `unroll_up_to` copies are
    unrolled into straight code, which runs a little faster and still compiles in seconds. The
    variables of all collections are stored alike in both cases.

    Args:
        module: a module that maps an array to one of the same shape; its name names the stack.
            It may itself repeat another: then the variables have two leading axes.
        length: number of copies, each with variables of its own.
        unroll_up_to: the longest stack that is written out.

    Returns:
        A function of the array; keyword arguments (`train`) go to every copy.
    """

    def apply(x: jax.Array, **options: Any) -> jax.Array:
        # Initialising is for the random draws, and those compile slowly: one loop for all copies.
        unroll = length <= unroll_up_to and not module.is_initializing()
        unroll = unroll and not _rematerialises.get()  # XLA would merge what is computed again
        stacked = nn.scan(
            loop_body(lambda copy, x, _: (copy(x, **options), None)),
            variable_axes={"params": 0, "batch_stats": 0, "constants": 0},
            split_rngs={"params": True},
            length=length,
            unroll=length if unroll else 1,
        )
        return stacked(module, x, None)[0]

    return apply
