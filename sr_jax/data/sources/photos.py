"""The photographs that the wheels of scikit-image and scikit-learn carry.

So training can be tried with no download. Of scikit-image, by the docstrings of `skimage.data`:
astronaut (NASA), rocket (SpaceX) and hubble_deep_field (NASA) are in the public domain; camera (Lav
Varshney), chelsea (Stefan van der Walt), coffee (Rachel Michetti), brick, grass and gravel
(CC0Textures) are CC0; coins (Brooklyn Museum) and ihc (CMMI) have no known restrictions; the
motorcycle views are of the Middlebury 2014 stereo benchmark (Scharstein et al., GCPR 2014). Of
scikit-learn: china and flower, Creative Commons BY 2.0, danielbuechele and vultilion on Flickr.
"""

import importlib.util
import os
from pathlib import Path

from sr_jax.data.sources.images import ImageFile, ImagePair

# Real photographs only: no drawings, logos, pages of text or phantoms; nor the blurred or tiny ones
# of scikit-image (cell, clock_motion, microaneurysms, moon, retina), which teach no detail. The
# JPEG ones kept are of quality 94 to 96 without chroma subsampling, so none is reduced.
#
# Validation: three lossless, sharp colour photographs of different content (a face and cloth; fur;
# smooth ceramics and wood), whose scenes appear in no training image. The two motorcycles show one
# scene from two places and therefore stay together.
_PHOTOS = {
    "train": (
        "skimage/data/brick.png",
        "skimage/data/camera.png",
        "skimage/data/coins.png",
        "skimage/data/grass.png",
        "skimage/data/gravel.png",
        "skimage/data/hubble_deep_field.jpg",
        "skimage/data/ihc.png",
        "skimage/data/motorcycle_left.png",
        "skimage/data/motorcycle_right.png",
        "skimage/data/rocket.jpg",
        "sklearn/datasets/images/china.jpg",
        "sklearn/datasets/images/flower.jpg",
    ),
    "validation": (
        "skimage/data/astronaut.png",
        "skimage/data/chelsea.png",
        "skimage/data/coffee.png",
    ),
}


def list_photos(
    split: str, path: str | os.PathLike[str] | None, scales: tuple[int, ...]
) -> tuple[ImagePair, ...]:
    """The photographs of the installed wheels: see `_PHOTOS`."""
    if path is not None:
        raise ValueError(f"the source 'photos' takes no path, got {os.fspath(path)!r}")
    files = [_wheel_file(photo) for photo in _PHOTOS[split]]
    return tuple(ImagePair(file.stem, scales, ImageFile(file)) for file in files)


def _wheel_file(photo: str) -> Path:
    package, _, inside = photo.partition("/")
    spec = importlib.util.find_spec(package)  # finds without importing, which costs seconds
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(location) / inside).is_file():
            return Path(location) / inside
    raise ValueError(f"the source 'photos' needs {photo}: run `pip install 'sr-jax[train]'`")
