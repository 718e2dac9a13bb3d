"""A network of one's own, untrained, enlarges a photo:

python examples/own_network.py photo.jpg large.png
"""

import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
from PIL import Image

import sr_jax
from sr_jax.models.layers import Conv
from sr_jax.models.network import Network
from sr_jax.ops.shuffle import pixel_shuffle


class Small(Network):
    """Two convolutions on the low-resolution image, and a sub-pixel shuffle."""

    scale: int = 2
    n_colors: int = 3
    n_feats: int = 16

    @nn.compact
    def __call__(self, images, *, scale=None, train=False):
        x = nn.relu(Conv(self.n_feats, name="conv_0")(images))
        x = Conv(self.n_colors * self.scale**2, name="conv_1")(x)
        return pixel_shuffle(x, self.scale)


photo, result = sys.argv[1:]
model = sr_jax.create_model(Small, n_feats=8)
variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
upscaler = sr_jax.Upscaler((model, variables))
upscaler(Image.open(photo).convert("RGB")).save(result)
