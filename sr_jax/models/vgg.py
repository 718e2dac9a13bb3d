"""VGG's convolutional layers, the features of perceptual losses: Simonyan, Zisserman, "Very Deep
Convolutional Networks for Large-Scale Image Recognition" (ICLR 2015, arXiv 1409.1556)."""

import functools
from collections.abc import Callable, Sequence
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from sr_jax.models.layers import Conv
from sr_jax.models.network import Network


class VGG(Network):
    """Feature maps of VGG-19 or VGG-16 without its dense layers (configurations E and D).

    (N, H, W, 3) RGB in [0, 1] -> (N, H / 2**(b-1), W / 2**(b-1), C) for a tap in block b, sides
    rounded down. C is 64, 128, 256, 512, 512 for the blocks 1 to 5.

    Layers are named as SRGAN's paper counts: conv5_4 is the fourth convolution after the fourth
    pooling. There are parameters for all layers whatever the tap, so one weights file serves
    every tap; the computation ends at the tap. Input has to be 2**(b-1) pixels a side at least.

    Attributes:
        convs_per_block: (2, 2, 4, 4, 4) for VGG-19, (2, 2, 3, 3, 3) for VGG-16.
        tap: the layer whose output is returned; None is the last convolution (conv5_4 or
            conv5_3).
        after_relu: whether its activation is applied. SRGAN's paper taps after it (VGG54, and
            VGG22 for conv2_2), much of its later code before it.
        mean, std: of each channel, subtracted and divided by; ImageNet's. (LPIPS shifts images in
            [-1, 1] by -0.030, -0.088, -0.188 and divides by 0.458, 0.448, 0.450: the same.)
    """

    convs_per_block: tuple[int, ...] = (2, 2, 4, 4, 4)
    tap: str | None = None
    after_relu: bool = True
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    upscales: ClassVar[bool] = False

    def check_fields(self) -> None:
        """Raises ValueError for more blocks or convolutions than any VGG has."""
        if len(self.convs_per_block) > 5 or max(self.convs_per_block) > 8:
            raise ValueError(
                f"convs_per_block is {self.convs_per_block}, expected up to 5 numbers from 1 to 8"
            )

    def __call__(
        self, images: jax.Array, *, scale: int | None = None, train: bool = False
    ) -> jax.Array:
        self.check_input(images.shape[1], images.shape[2], scale)
        return self.feature_maps(images, (self._tap(),))[0]

    @nn.compact
    def feature_maps(
        self,
        images: jax.Array,
        taps: Sequence[str],
        pool: Callable[[jax.Array], jax.Array] = functools.partial(
            nn.max_pool, window_shape=(2, 2), strides=(2, 2)
        ),
    ) -> list[jax.Array]:
        """Several feature maps of one pass: `model.apply(variables, images, taps, method=...)`.

        Args:
            images: (N, H, W, 3) in [0, 1].
            taps: layers, before or after the activation as `after_relu` says.
            pool: what halves the sides between two blocks.

        Returns:
            A feature map for each tap, in their order.

        Raises:
            ValueError: unknown tap, or images too small for one.
        """
        self._check_taps(taps, images.shape[1], images.shape[2])
        names = self._layers()
        # Initialisation goes on to the end, to make all parameters.
        last = len(names) - 1 if self.is_initializing() else max(map(names.index, taps))

        maps = {}
        x = (images - jnp.asarray(self.mean, images.dtype)) / jnp.asarray(self.std, images.dtype)
        for name in names[: last + 1]:
            block, index = _block_and_index(name)
            if block > 1 and index == 1:
                x = pool(x)
            y = Conv(
                min(64 * 2 ** (block - 1), 512),
                # As torchvision trains it: He et al. over the fan-out.
                kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
                bias_init=nn.initializers.zeros,
                name=name,
            )(x)
            x = nn.relu(y)
            maps[name] = x if self.after_relu else y
        return [maps[tap] for tap in taps]

    def check_input(self, height: int, width: int, scale: int | None) -> None:
        """Raises ValueError for a scale, which it has not, an unknown tap, or too small images."""
        if scale is not None:
            raise ValueError(f"a VGG has no scale; asked for scale {scale}")
        self._check_taps((self._tap(),), height, width)

    def _check_taps(self, taps: Sequence[str], height: int, width: int) -> None:
        names = self._layers()
        for tap in taps:
            if tap not in names:
                raise ValueError(f"no layer {tap}; there are {', '.join(names)}")
            side = 2 ** (_block_and_index(tap)[0] - 1)
            if min(height, width) < side:
                raise ValueError(
                    f"{tap} needs images of {side} pixels a side at least; given {height}x{width}"
                )

    def _layers(self) -> list[str]:
        return [
            f"conv{block}_{index}"
            for block, count in enumerate(self.convs_per_block, 1)
            for index in range(1, count + 1)
        ]

    def _tap(self) -> str:
        return self.tap or self._layers()[-1]


def _block_and_index(name: str) -> tuple[int, int]:
    """(5, 4) of 'conv5_4'."""
    block, index = name.removeprefix("conv").split("_")
    return int(block), int(index)
