"""Pixels to channels and back, exact rearrangements; each device handles its own rows."""

import jax

from sr_jax.ops.rows import by_rows


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


def space_to_cells(x: jax.Array, factor: int) -> jax.Array:
    """(N, f * H, f * W, C) -> (N, H, W, f * f * C): cells of f x f pixels, channels (i, j, c)."""

    def cells(x: jax.Array) -> jax.Array:
        n, height, width, channels = x.shape
        x = x.reshape(n, height // factor, factor, width // factor, factor, channels)
        x = x.transpose(0, 1, 3, 2, 4, 5)
        return x.reshape(n, height // factor, width // factor, factor * factor * channels)

    return by_rows(cells, x, multiple=factor)


def cells_to_space(x: jax.Array, factor: int) -> jax.Array:
    """(N, H, W, f * f * C) -> (N, f * H, f * W, C), the inverse of `space_to_cells`."""

    def space(x: jax.Array) -> jax.Array:
        n, height, width, channels = x.shape
        x = x.reshape(n, height, width, factor, factor, channels // factor**2)
        x = x.transpose(0, 1, 3, 2, 4, 5)
        return x.reshape(n, height * factor, width * factor, channels // factor**2)

    return by_rows(space, x)


def downscale_bilinear(x: jax.Array, factor: int) -> jax.Array:
    """Bilinear downscaling without antialiasing: for 3 the centre pixel of each cell."""

    def mean_of_cells(x: jax.Array) -> jax.Array:
        n, height, width, channels = x.shape
        return x.reshape(n, height // 2, 2, width // 2, 2, channels).mean((2, 4))

    return x[:, 1::3, 1::3] if factor == 3 else by_rows(mean_of_cells, x, multiple=2)
