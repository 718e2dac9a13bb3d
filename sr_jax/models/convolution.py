"""Convolution of stride 1: XLA's own, on a CPU in the form that is fastest there for its shape.

experiments/throughput/NOTES.md has what the forms were measured to win.
"""

import functools
from collections.abc import Iterable

import jax
import jax.numpy as jnp

from sr_jax.models import direct, winograd
from sr_jax.models.direct import Sides
from sr_jax.models.rows import image_devices
from sr_jax.ops.target import platform

# XLA:CPU's convolution is a matrix product that is slow with fewer columns than this, one for
# every output channel.
_FEW = 8
_SMALL = 300_000  # values that are copied faster than its loops run over few channels


def tuned_for_cpu() -> bool:
    """Whether what is traced is for one CPU, in the forms that are fast there."""
    return platform() == "cpu" and image_devices() == 1


def _taps_as_channels(x: jax.Array, kernel: jax.Array, padding: Sides) -> jax.Array:
    """`direct.convolve` to few channels, as one to many whose shifted sum is the result.

    What the rows of the kernel would add up (of one output channel: its rows and columns) is
    computed as channels of their own: 2 to 5 times faster on CPU.
    """
    kh, kw, channels, features = kernel.shape
    x = direct.surround(x, padding)
    height, width = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    if features > 1:
        rows = kernel.transpose(1, 2, 0, 3).reshape(1, kw, channels, kh * features)
        terms = direct.convolve(x, rows).reshape(*x.shape[:2], width, kh, features)
        return _total(terms[:, i : i + height, :, i] for i in range(kh))
    terms = jnp.einsum("nhwc,ijc->nhwij", x, kernel[..., 0])
    shifts = ((i, j) for i in range(kh) for j in range(kw))
    return _total(terms[:, i : i + height, j : j + width, i, j, None] for i, j in shifts)


def _shifts_as_channels(x: jax.Array, kernel: jax.Array, padding: Sides) -> jax.Array:
    """`direct.convolve` of few channels, as one of many: the pixels that a kernel's row sees."""
    kh, kw, channels, features = kernel.shape
    x = direct.surround(x, padding)
    width = x.shape[2] - kw + 1
    x = jnp.concatenate([x[:, :, j : j + width] for j in range(kw)], axis=-1)
    return direct.convolve(x, kernel.reshape(kh, 1, kw * channels, features))


def _total(terms: Iterable[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, terms)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _on_cpu(padding: Sides, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`direct.convolve` in the form that is fastest for its shape, with a gradient that is too."""
    if kernel.shape[3] < _FEW:
        return _taps_as_channels(x, kernel, padding)
    if winograd.suits(x, kernel):
        return winograd.convolve(x, kernel, padding)
    if kernel.shape[1] > 3 and kernel.shape[2] < _FEW and x.size * kernel.shape[1] < _SMALL:
        return _shifts_as_channels(x, kernel, padding)
    return direct.convolve(x, kernel, padding)


def _forward(
    padding: Sides, x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _on_cpu(padding, x, kernel), (x, kernel)


def _backward(
    padding: Sides, saved: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    # Autodiff's convolutions carry permuted dimension numbers. XLA:CPU puts those in order in the
    # entry computation only, so that in the body of a loop they run 60 to 110 times slower.
    # Both gradients are therefore written as plain NHWC/HWIO convolutions.
    x, kernel = saved
    around = (kernel.shape[0] - 1 - padding[0], kernel.shape[1] - 1 - padding[1])
    grad_x = _on_cpu(around, cotangent, kernel[::-1, ::-1].swapaxes(2, 3))
    if kernel.shape[3] < _FEW:
        # The image slides over the cotangent, so that its channels are those of the result.
        flipped = direct.correlate(cotangent, x, around)
        return grad_x, flipped[:, ::-1, ::-1].transpose(1, 2, 3, 0)
    correlate = winograd.correlate if winograd.suits(x, kernel) else direct.correlate
    return grad_x, correlate(x, cotangent, padding).transpose(1, 2, 0, 3)


_on_cpu.defvjp(_forward, _backward)


def conv2d(x: jax.Array, kernel: jax.Array, padding: str = "zeros") -> jax.Array:
    """Stride-1 cross-correlation; on a CPU with a gradient that stays fast inside loops.

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
        x = direct.surround(x, around, mode="edge")
    sides = around if padding == "zeros" else (0, 0)
    return _on_cpu(sides, x, kernel) if tuned_for_cpu() else direct.convolve(x, kernel, sides)
