"""Enlarges the PNG images of a folder: python examples/folder.py photos runs/demo large

`sr-jax upscale` does more: other formats, profiles, many sizes, going on after an interruption.
"""

import sys
from pathlib import Path

from PIL import Image

import sr_jax

photos, model, results = map(Path, sys.argv[1:])
upscaler = sr_jax.Upscaler(model)
results.mkdir(parents=True, exist_ok=True)
for path in sorted(photos.glob("*.png")):
    with Image.open(path) as image:
        upscaler(image.convert("RGB")).save(results / path.name)
    print(results / path.name)
