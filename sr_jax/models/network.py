"""The contract between networks and their callers: what every network says of itself."""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import flax.linen as nn
import numpy as np


class Network(nn.Module):
    """The base class of all networks, with defaults for what callers ask.

    A subclass has its paper's hyper-parameters as fields, `n_colors` and `n_feats` among them, and
    `scale` unless the caller chooses it. It is called as

        network(images, *, scale=None, train=False)

    with (N, H, W, n_colors) floats in [0, 1], and answers with (N, s * H, s * W, n_colors), neither
    clipped nor rounded; with (N, H, W, n_colors) where it takes interpolated images. Variables are
    `params`, `batch_stats` and `constants`, see `sr_jax.models`.

    Attributes:
        scale: the factor by which it upscales; None where the caller chooses it or, for networks
            that take interpolated images, where it is not known.
        n_colors: channels of its images.
        n_feats: width of its layers.
        takes_interpolated: whether it takes an image that is interpolated to the output size.
        scales: those of a network that takes the scale in each call; empty for all others.
        upscales: whether it makes images at all; False for what only helps to train.
        pads_in_conv: whether `layers.Conv` with padding 'zeros' or 'replicate' is all that looks
            beyond a pixel, so that images of many sizes can share a program.
    """

    takes_interpolated: ClassVar[bool] = False
    pads_in_conv: ClassVar[bool] = False
    upscales: ClassVar[bool] = True

    if TYPE_CHECKING:  # without annotations they are no fields, which a subclass makes of them
        scale: int | None = None
        scales: tuple[int, ...] = ()
        n_colors: int = 3
        n_feats: int | tuple[int, ...] = 1
    else:
        scale = None
        scales = ()
        n_colors = 3
        n_feats = 1

    @classmethod
    def field_names(cls) -> list[str]:
        """The names of its hyper-parameters."""
        return [f.name for f in dataclasses.fields(cls) if f.name not in ("parent", "name")]

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """All hyper-parameters by name."""
        return {name: getattr(self, name) for name in self.field_names()}

    @property
    def size_divisor(self) -> int:
        """What the sides of its input are multiples of."""
        return 1

    @property
    def minimum_size(self) -> int:
        """The least side of its input."""
        return self.size_divisor

    @property
    def example_size(self) -> int:
        """A side of its input that it takes, for `init`: divisible by every scale."""
        return 24

    @property
    def known_scales(self) -> tuple[int, ...] | None:
        """The factors by which it upscales; None for any, empty for a network that does not."""
        if not self.upscales:
            return ()
        if self.scale is not None:
            return (self.scale,)
        return None if self.takes_interpolated else self.scales

    @property
    def receptive_radius(self) -> int | None:
        """How far a network of convolutions alone looks: no output pixel depends on more.

        The number of input pixels in each direction from the one under an output pixel. It is
        reached, not only a bound. None for networks with layers over the whole image.
        """
        return None

    @property
    def width(self) -> int:
        """Channels of its widest feature map at the input's size."""
        return int(np.max(self.n_feats))

    def check_fields(self) -> None:
        """Raises ValueError where hyper-parameters do not fit each other."""

    def call_scale(self, scale: int | None) -> int | None:
        """The `scale` of a call for images of this scale: None unless the network takes it."""
        return scale if self.scales else None

    def check_input(self, height: int, width: int, scale: int | None) -> None:
        """Raises ValueError where it cannot be called on images of this size and scale."""

    def for_inference(self) -> "Network":
        """The network as images are upscaled with it, whose output has the whole size."""
        return self

    def branch(self, layer: str) -> int | None:
        """The scale that alone uses a layer of `params`; None for a layer that all scales use."""
        return None
