"""Convolutions in the form that XLA:CPU runs fastest for their shape, gradients too.

experiments/throughput/NOTES.md has what the forms were measured to win.
"""

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from sr_jax.ops import direct
from sr_jax.ops.cpu import winograd
from sr_jax.ops.cpu.blocks import (
    convolve_in_blocks,
    result_size,
    sum_over_groups,
    takes_blocks,
)
from sr_jax.ops.direct import Finish, Padding
from sr_jax.ops.shuffle import pixel_shuffle

# XLA:CPU's convolution is a matrix product that is slow with fewer columns than this, one for
# every output channel.
_FEW = 8
_SMALL = 300_000  # values that are copied faster than its loops run over few channels
_ROWS = 32  # of a block in Winograd's form; fewer win less
_GRADIENT_PIXELS = 10_000  # of a group of images in a weight gradient, which transposes them


def _taps_as_channels(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """`direct.convolve` to few channels, as one to many whose shifted sum is the result.

    Every row of the kernel (with one output channel: every tap) gets channels of its own. That is
    2 to 5 times faster on CPU.
    """
    kh, kw, channels, features = kernel.shape
    if features > 1:
        return _sum_rows(direct.convolve(direct.pad(x, padding), _rows_as_channels(kernel)), kh)
    height, width = result_size(x, kernel, padding)
    if kh * kw > channels:
        x, padding = direct.pad(x, padding), (0, 0)
    terms = jnp.einsum("nhwc,ijc->nhwij", x, kernel[..., 0])
    terms = jnp.pad(terms, ((0, 0), *((each, each) for each in padding), (0, 0), (0, 0)))
    shifts = ((i, j) for i in range(kh) for j in range(kw))
    return _total(terms[:, i : i + height, j : j + width, i, j, None] for i, j in shifts)


def _rows_as_channels(kernel: jax.Array) -> jax.Array:
    """(kh, kw, C, D) -> (1, kw, C, kh * D)."""
    kh, kw, channels, features = kernel.shape
    return kernel.transpose(1, 2, 0, 3).reshape(1, kw, channels, kh * features)


def _sum_rows(terms: jax.Array, kh: int) -> jax.Array:
    """(N, H + kh - 1, W, kh * D), the terms of a kernel's rows, -> (N, H, W, D)."""
    terms = terms.reshape(*terms.shape[:3], kh, -1)
    height = terms.shape[1] - kh + 1
    return _total(terms[:, i : i + height, :, i] for i in range(kh))


def _shifts_as_channels(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """`direct.convolve` of few channels: the pixels under a row of the kernel become channels."""
    kh, kw, channels, features = kernel.shape
    x = direct.pad(x, padding)
    width = x.shape[2] - kw + 1
    x = jnp.concatenate([x[:, :, j : j + width] for j in range(kw)], axis=-1)
    return direct.convolve(x, kernel.reshape(kh, 1, kw * channels, features))


def _total(terms: Iterable[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, terms)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def conv2d(padding: Padding, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`direct.convolve` in the form that is fastest for its shape, with a gradient that is too."""
    if kernel.shape[3] < _FEW:
        return _taps_as_channels(x, kernel, padding)
    if winograd.suits(x, kernel):
        if takes_blocks(x, kernel, padding):
            return _convolve_in_blocks(padding, lambda y: y, x, kernel)
        return winograd.convolve(x, kernel, padding)
    if kernel.shape[1] > 3 and kernel.shape[2] < _FEW and x.size * kernel.shape[1] < _SMALL:
        return _shifts_as_channels(x, kernel, padding)
    return direct.convolve(x, kernel, padding)


def _forward(
    padding: Padding, x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return conv2d(padding, x, kernel), (x, kernel)


def _backward(
    padding: Padding, saved: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    # Autodiff's convolutions have permuted dimension numbers. XLA:CPU puts those in order in the
    # entry computation only: in the body of a loop they run 60 to 110 times slower. Both gradients
    # are therefore written as plain NHWC/HWIO convolutions.
    x, kernel = saved
    around = (kernel.shape[0] - 1 - padding[0], kernel.shape[1] - 1 - padding[1])
    grad_x = conv2d(around, cotangent, kernel[::-1, ::-1].swapaxes(2, 3))
    if kernel.shape[3] < _FEW:
        # Image and cotangent change places, so that the result has the image's many channels.
        flipped = _direct_gradient(cotangent, x, around)
        return grad_x, flipped[:, ::-1, ::-1].transpose(1, 2, 3, 0)
    suits = winograd.gradient_suits(x, kernel, cotangent)
    gradient = winograd.weight_gradient if suits else _direct_gradient
    return grad_x, gradient(x, cotangent, padding).transpose(1, 2, 0, 3)


def _direct_gradient(x: jax.Array, y: jax.Array, padding: Padding) -> jax.Array:
    gradient = functools.partial(direct.weight_gradient, padding=padding)
    return sum_over_groups(gradient, x, y, _GRADIENT_PIXELS)


conv2d.defvjp(_forward, _backward)


def conv2d_finished(
    padding: Padding, finish: Finish, x: jax.Array, kernel: jax.Array, *operands: jax.Array
) -> jax.Array:
    """`finish(conv2d(padding, x, kernel), *operands)`; see `sr_jax.ops.conv.conv2d`."""
    # Blocks pay in Winograd's form, and in a first layer, whose result alone is large.
    suits = winograd.suits(x, kernel) or kernel.shape[2] < _FEW <= kernel.shape[3]
    if suits and takes_blocks(x, kernel, padding):
        return _in_blocks(padding, finish, x, kernel, *operands)
    return _one_by_one(padding, finish, x, kernel, *operands)


def _one_by_one(
    padding: Padding, finish: Finish, x: jax.Array, kernel: jax.Array, *operands: jax.Array
) -> jax.Array:
    return finish(conv2d(padding, x, kernel), *operands)


def _convolve_in_blocks(
    padding: Padding, finish: Finish, x: jax.Array, kernel: jax.Array, *operands: jax.Array
) -> jax.Array:
    if not winograd.suits(x, kernel):
        return convolve_in_blocks(direct.convolve, x, kernel, padding, finish, *operands)
    # Winograd's rows come in fours, and with an even number of fours two cores have equal shares.
    return convolve_in_blocks(
        winograd.convolve,
        x,
        kernel,
        padding,
        finish,
        *operands,
        unit=2 * winograd.ROWS,
        wanted=1 if kernel.shape[2] < _FEW else _ROWS,
    )


_in_blocks = jax.custom_vjp(_convolve_in_blocks, nondiff_argnums=(0, 1))


def _in_blocks_forward(padding: Padding, finish: Finish, *arrays: jax.Array) -> tuple[Any, Any]:
    # The backward pass needs what is between the two.
    return jax.vjp(functools.partial(_one_by_one, padding, finish), *arrays)


def _in_blocks_backward(_: Any, finish: Finish, pullback: Any, cotangent: jax.Array) -> Any:
    return pullback(cotangent)


_in_blocks.defvjp(_in_blocks_forward, _in_blocks_backward)


def shuffled_conv2d(
    factor: int,
    finish: Finish,
    x: jax.Array,
    kernel: jax.Array,
    last: jax.Array,
    *operands: jax.Array,
) -> jax.Array:
    """See `sr_jax.ops.conv.shuffled_conv2d`."""
    tall, _, _, features = last.shape
    few = features < _FEW <= tall * features
    if few and winograd.suits(x, kernel) and takes_blocks(x, kernel, _around(kernel)):
        return _shuffled_in_blocks(factor, finish, x, kernel, last, *operands)
    return _shuffled_one_by_one(factor, finish, x, kernel, last, *operands)


def _shuffled_one_by_one(
    factor: int,
    finish: Finish,
    x: jax.Array,
    kernel: jax.Array,
    last: jax.Array,
    *operands: jax.Array,
) -> jax.Array:
    x = conv2d_finished(_around(kernel), finish, x, kernel, *operands)
    return conv2d(_around(last), pixel_shuffle(x, factor), last)


def _convolve_shuffled(
    factor: int,
    finish: Finish,
    x: jax.Array,
    kernel: jax.Array,
    last: jax.Array,
    *operands: jax.Array,
) -> jax.Array:
    # A pixel between the two has C channels. Its terms in the result's rows are few.
    above, beside = _around(last)

    def terms(y: jax.Array, *operands: jax.Array) -> jax.Array:
        y = pixel_shuffle(finish(y, *operands), factor)
        return direct.convolve(y, _rows_as_channels(last), (0, beside))

    y = _convolve_in_blocks(_around(kernel), terms, x, kernel, *operands)
    return _sum_rows(direct.pad(y, (above, 0)), last.shape[0])


def _around(kernel: jax.Array) -> Padding:
    return kernel.shape[0] // 2, kernel.shape[1] // 2


_shuffled_in_blocks = jax.custom_vjp(_convolve_shuffled, nondiff_argnums=(0, 1))


def _shuffled_forward(factor: int, finish: Finish, *arrays: jax.Array) -> tuple[Any, Any]:
    return jax.vjp(functools.partial(_shuffled_one_by_one, factor, finish), *arrays)


_shuffled_in_blocks.defvjp(_shuffled_forward, _in_blocks_backward)


def _halve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return direct.convolve(x, kernel, (1, 1), stride=2)


halving_conv2d = jax.custom_vjp(_halve)


def _halving_forward(
    x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _halve(x, kernel), (x, kernel)


def _halving_backward(
    saved: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    # As above: in a loop (such as gradient accumulation) autodiff's permuted dimension numbers
    # are 50 times slower, so both gradients are NHWC/HWIO convolutions.
    x, kernel = saved
    _, height, width, channels = x.shape
    flipped = kernel[::-1, ::-1].swapaxes(2, 3)

    def every_other(row: int, column: int) -> jax.Array:
        # An even row of the image met the kernel's middle row alone. An odd one met the last row
        # and, one row of the result further down, the first. Columns likewise.
        taps = flipped[1 - row :: 2, 1 - column :: 2]
        return direct.conv(cotangent, taps, (1, 1), ((0, row), (0, column)))

    phases = [jnp.stack([every_other(row, column) for column in (0, 1)], 3) for row in (0, 1)]
    grad_x = jnp.stack(phases, 2)  # (N, H / 2, 2, W / 2, 2, C)
    grad_x = grad_x.reshape(len(x), 2 * cotangent.shape[1], -1, channels)[:, :height, :width]

    # The lower and right padding is read for odd sides only.
    grad_kernel = direct.conv(
        x.transpose(3, 1, 2, 0),
        cotangent.transpose(1, 2, 0, 3),
        (1, 1),
        ((1, height % 2), (1, width % 2)),
        rhs_dilation=(2, 2),
    )
    return grad_x, grad_kernel.transpose(1, 2, 0, 3)


halving_conv2d.defvjp(_halving_forward, _halving_backward)
