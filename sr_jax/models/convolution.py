"""Convolution of stride 1 with a fast gradient, in the form that suits its shape and the device.

experiments/throughput/NOTES.md has what the forms were measured to win.
"""

import contextlib
import contextvars
import functools
from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp

from sr_jax.models import direct, winograd
from sr_jax.models.direct import Sides
from sr_jax.models.rows import image_devices

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


def tuned_for_cpu() -> bool:
    """Whether what is traced is for one CPU, in the forms that are fast there."""
    # JAX keeps what it traced of a function with a gradient of its own, whatever the context: it
    # must be asked outside of those.
    return not _textbook.get() and jax.default_backend() == "cpu" and image_devices() == 1


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


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _conv2d(plain: bool, padding: Sides, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`direct.convolve` with a gradient that is fast in loops, also on CPU.

    Args:
        plain: as one convolution; else in the form that is fastest for its shape on CPU.
        padding, x, kernel: see `direct.convolve`.
    """
    if plain:
        return direct.convolve(x, kernel, padding)
    if kernel.shape[3] < _FEW:
        return _taps_as_channels(x, kernel, padding)
    if winograd.suits(x, kernel):
        return winograd.convolve(x, kernel, padding)
    if kernel.shape[1] > 3 and kernel.shape[2] < _FEW and x.size * kernel.shape[1] < _SMALL:
        return _shifts_as_channels(x, kernel, padding)
    return direct.convolve(x, kernel, padding)


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
        flipped = direct.correlate(cotangent, x, around)
        return grad_x, flipped[:, ::-1, ::-1].transpose(1, 2, 3, 0)
    correlate = winograd.correlate if not plain and winograd.suits(x, kernel) else direct.correlate
    return grad_x, correlate(x, cotangent, padding).transpose(1, 2, 0, 3)


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
        x = direct.surround(x, around, mode="edge")
    return _conv2d(not tuned_for_cpu(), around if padding == "zeros" else (0, 0), x, kernel)
