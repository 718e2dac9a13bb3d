"""Convolutions: XLA's own, on a CPU in the forms of `sr_jax.ops.cpu.conv`."""

import functools

import jax
import jax.numpy as jnp

from sr_jax.ops import direct
from sr_jax.ops.cpu import conv as cpu
from sr_jax.ops.rows import image_devices
from sr_jax.ops.shuffle import cells_to_space, pixel_shuffle, space_to_cells
from sr_jax.ops.target import for_one_cpu, platform

PADDINGS = ("zeros", "replicate", "valid")


def conv2d(
    x: jax.Array,
    kernel: jax.Array,
    padding: str = "zeros",
    finish: direct.Finish = lambda y: y,
    *operands: jax.Array,
) -> jax.Array:
    """Cross-correlation with stride 1. On a CPU its gradient stays fast inside loops.

    Args:
        x: (N, H, W, C).
        kernel: (kh, kw, C, D) with odd kh and kw.
        padding: 'zeros' or 'replicate' keep (H, W); 'valid' gives (H - kh + 1, W - kw + 1).
        finish: an elementwise function of the result and `operands`, such as bias and activation.
            On a CPU it is applied to parts of large results, while the caches hold them.
        *operands: (N, H', W', D) or (D,).

    Returns:
        (N, H', W', D) in the dtype of `x`.

    Raises:
        ValueError: unknown padding.
    """
    check_padding(padding)
    kernel = kernel.astype(x.dtype)
    height, width = kernel.shape[:2]
    if height == width == 1:  # a matrix product is over twice as fast as a 1x1 convolution
        return finish(jnp.einsum("nhwc,cd->nhwd", x, kernel[0, 0]), *operands)
    around = (height // 2, width // 2)
    if padding == "replicate":
        x = direct.pad(x, around, mode="edge")
    sides = around if padding == "zeros" else (0, 0)
    if for_one_cpu():
        return cpu.conv2d_finished(sides, finish, x, kernel, *operands)
    return finish(direct.convolve(x, kernel, sides), *operands)


def shuffled_conv2d(
    x: jax.Array,
    kernel: jax.Array,
    last: jax.Array,
    factor: int,
    finish: direct.Finish,
    *operands: jax.Array,
) -> jax.Array:
    """`conv2d(pixel_shuffle(conv2d(x, kernel, "zeros", finish, *operands), factor), last)`.

    On a CPU a large map between the two is never there as a whole.

    Args:
        x: (N, H, W, C).
        kernel: (kh, kw, C, D * factor**2) with odd kh and kw.
        last: (kh', kw', D, E), likewise.
        factor: of the shuffle.
        finish: an elementwise function of the first result and `operands`.
        *operands: (D * factor**2,).

    Returns:
        (N, factor * H, factor * W, E) in the dtype of `x`.
    """
    if for_one_cpu():
        kernel, last = kernel.astype(x.dtype), last.astype(x.dtype)
        return cpu.shuffled_conv2d(factor, finish, x, kernel, last, *operands)
    return conv2d(pixel_shuffle(conv2d(x, kernel, "zeros", finish, *operands), factor), last)


def check_padding(padding: str) -> None:
    """Raises ValueError for a padding that `conv2d` has not."""
    if padding not in PADDINGS:
        raise ValueError(f"padding is {padding!r}; known are {', '.join(map(repr, PADDINGS))}")


def halving_conv2d(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """3x3 cross-correlation of stride 2, zero padding 1, with a gradient that is fast on CPU too.

    Args:
        x: (N, H, W, C).
        kernel: (3, 3, C, D).

    Returns:
        (N, ceil(H / 2), ceil(W / 2), D).
    """
    if platform() == "cpu":
        return cpu.halving_conv2d(x, kernel)
    return direct.convolve(x, kernel, (1, 1), stride=2)


def strided_conv2d(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """Strided cross-correlation, on a CPU as a stride-1 one over cells of stride x stride pixels.

    XLA:CPU's own strided convolutions and their gradients are slow, above all in loops.

    Args:
        x: (N, H, W, C); H + 2 * padding and W + 2 * padding are multiples of the stride.
        kernel: (k, k, C, D) with k a multiple of the stride.
        stride: pixels from one output to the next.
        padding: zeros on every side of `x`.

    Returns:
        (N, (H + 2 * padding - k) / stride + 1, likewise for W, D).
    """
    if _has_strides():
        return _strided(stride, padding, x, kernel)
    size, _, channels, features = kernel.shape
    cells = size // stride
    kernel = kernel.reshape(cells, stride, cells, stride, channels, features)
    kernel = kernel.transpose(0, 2, 1, 3, 4, 5)
    kernel = kernel.reshape(cells, cells, stride * stride * channels, features)
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    return conv2d(space_to_cells(x, stride), kernel, "valid")


def transposed_conv2d(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
    """Transposed convolution, on a CPU as a stride-1 one to cells of stride x stride pixels.

    Args:
        x: (N, H, W, C).
        kernel: (k, k, C, D) with k a multiple of the stride; input (h, w) adds kernel[i, j] to
            output (h * stride + i - padding, w * stride + j - padding).
        stride: pixels from one input to the next in the output.
        padding: pixels cut off every side of the full result, at most k - stride.

    Returns:
        (N, (H - 1) * stride - 2 * padding + k, likewise for W, D).
    """
    size, _, channels, features = kernel.shape
    if _has_strides():
        return _transposed(stride, padding, x, kernel)
    cells = size // stride
    kernel = kernel.reshape(cells, stride, cells, stride, channels, features)
    kernel = kernel[::-1, :, ::-1].transpose(0, 2, 4, 1, 3, 5)
    kernel = kernel.reshape(cells, cells, channels, stride * stride * features)
    # Cells that lie wholly in the padding are not computed; the rest is cut off.
    uncut, cut = divmod(padding, stride)
    border = cells - 1 - uncut
    x = jnp.pad(x, ((0, 0), (border, border), (border, border), (0, 0)))
    y = cells_to_space(conv2d(x, kernel, "valid"), stride)
    return y[:, cut : y.shape[1] - cut, cut : y.shape[2] - cut]


def _strided(stride: int, padding: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return direct.convolve(x, kernel, (padding, padding), stride)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _transposed(stride: int, padding: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    border = (len(kernel) - 1 - padding,) * 2
    flipped = kernel[::-1, ::-1]
    return direct.conv(x, flipped, (1, 1), (border, border), lhs_dilation=(stride, stride))


def _transposed_forward(
    stride: int, padding: int, x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _transposed(stride, padding, x, kernel), (x, kernel)


def _transposed_backward(
    stride: int, padding: int, saved: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    # Written as gradients of the strided convolution, which cuDNN has. Autodiff's weight gradient
    # would be a convolution whose kernel is the image.
    x, kernel = saved
    convolve = functools.partial(_strided, stride, padding, cotangent)
    grad_x, transpose = jax.vjp(convolve, kernel.swapaxes(2, 3))
    return grad_x, transpose(x)[0].swapaxes(2, 3)


_transposed.defvjp(_transposed_forward, _transposed_backward)


def _has_strides() -> bool:
    """Whether strided and transposed convolutions are fast as they are, on one device."""
    return platform() != "cpu" and image_devices() == 1
