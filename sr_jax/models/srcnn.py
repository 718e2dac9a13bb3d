"""SRCNN: Dong, Loy, He, Tang, "Image Super-Resolution Using Deep Convolutional Networks"
(ECCV 2014; TPAMI 2016, arXiv 1501.00092)."""

from typing import ClassVar

import flax.linen as nn
import jax

from sr_jax.models.layers import Conv
from sr_jax.models.network import Network
from sr_jax.ops.activations import relu
from sr_jax.ops.conv import check_padding


class SRCNN(Network):
    """Three convolutions on an image that is already interpolated to the output size.

    (N, H, W, n_colors) in [0, 1] -> (N, H, W, n_colors), or with padding 'valid'
    (N, H - b, W - b, n_colors), b the sum of (k - 1) over the three kernel sizes.

    Attributes:
        kernel_sizes: (f1, f2, f3) of TPAMI section 3.1; (9, 1, 5), (9, 3, 5), (9, 5, 5).
        n_feats: (n1, n2), the widths of the two hidden layers.
        n_colors: 1 for luma (the paper), 3 for RGB.
        padding: 'zeros' as the PyTorch ports, 'valid' as the paper trains, 'replicate' as the
            authors' test code.
        scale: the factor that the weights were trained for, if known; the network does not use it.
    """

    kernel_sizes: tuple[int, int, int] = (9, 1, 5)
    n_feats: tuple[int, int] = (64, 32)
    n_colors: int = 1
    padding: str = "zeros"
    scale: int | None = None

    takes_interpolated: ClassVar[bool] = True
    pads_in_conv: ClassVar[bool] = True

    @property
    def receptive_radius(self) -> int:
        """Pixels of the interpolated image beyond which an output pixel does not look."""
        return sum(size // 2 for size in self.kernel_sizes)

    def for_inference(self) -> "SRCNN":
        """Without padding it would shrink an image: edges are replicated, as the authors do."""
        return self.clone(padding="replicate") if self.padding == "valid" else self

    def check_fields(self) -> None:
        """Raises ValueError for an unknown padding or even kernel sizes."""
        check_padding(self.padding)
        if any(size % 2 == 0 for size in self.kernel_sizes):
            raise ValueError(f"kernel_sizes are {self.kernel_sizes}; SRCNN takes odd ones")

    @nn.compact
    def __call__(
        self, images: jax.Array, *, scale: int | None = None, train: bool = False
    ) -> jax.Array:
        x = images
        widths = (*self.n_feats, self.n_colors)
        for index, (width, kernel_size) in enumerate(zip(widths, self.kernel_sizes, strict=True)):
            x = Conv(
                width,
                kernel_size,
                padding=self.padding,
                kernel_init=nn.initializers.normal(0.001),  # TPAMI section 3.3
                bias_init=nn.initializers.zeros,
                activation=relu if index < len(widths) - 1 else None,
                name=f"conv_{index}",
            )(x)
        return x
