"""Enlarges a photo: python examples/upscale_image.py photo.jpg runs/demo large.png"""

import sys

from PIL import Image

import sr_jax

photo, model, result = sys.argv[1:]
upscaler = sr_jax.Upscaler(model)
upscaler(Image.open(photo)).save(result)
