"""Images enlarged in two lines of Python.

>>> import numpy as np, sr_jax
>>> model = sr_jax.create_model("edsr_baseline", scale=2, n_resblocks=1, n_feats=4)
>>> import jax
>>> variables = model.init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
>>> upscaler = sr_jax.Upscaler((model, variables))
>>> upscaler(np.zeros((20, 30, 3), np.uint8)).shape
(40, 60, 3)
"""

import math
from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from sr_jax import pretrained
from sr_jax.imaging.resize import imresize
from sr_jax.inference.settings import Settings
from sr_jax.inference.upscaler import network_factor, scaled_size, upscale_image, upscale_rgb
from sr_jax.models import Variables
from sr_jax.models.network import Network
from sr_jax.opening import open_model

Picture = TypeVar("Picture", np.ndarray, Image.Image)

_MODES = ("L", "LA", "RGB", "RGBA", "I;16")


class Upscaler:
    """A network that enlarges images: `Upscaler()(image)`.

    Attributes:
        model: the network.
        variables: its variables.
        scale: by which it enlarges, a whole number or not.
    """

    def __init__(
        self,
        model: str | Path | tuple[Network, Variables] | None = None,
        *,
        scale: float | None = None,
        tile: int | str | None = "auto",
        overlap: int | str | None = None,
        ensemble: bool = False,
        dtype: str = "float32",
        batch: int = 1,
        allow: Collection[str] = (),
    ) -> None:
        """Loads the network; it is compiled for each size of image when that first comes.

        Args:
            model: a name, file or workdir that `sr_jax.load` takes, or a network and its variables.
                None: of those that come with sr_jax, the best for clean images at this scale (2 if
                that is None, too). For images that were JPEG give "edsr_photo_x2" or
                "edsr_photo_x4".
            scale: None, the network's own; or any other, which bicubic interpolation of the
                network's result reaches.
            tile, overlap, ensemble, dtype, batch: see `sr_jax.inference.settings.Settings`.
            allow: see `sr_jax.load`.

        Raises:
            ValueError: no such network, scale or setting.
        """
        if scale is not None and not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale is {scale}, expected a positive number")
        if model is None:
            model = pretrained.choose(2 if scale is None else scale).name
        if not isinstance(model, tuple):
            model = open_model(model, allow=allow)[:2]
        self.model, self.variables = model
        self._factor = network_factor(self.model, scale)
        self.scale = self._factor if scale is None else scale
        self._settings = Settings(
            tile=tile, overlap=overlap, ensemble=ensemble, dtype=dtype, batch=batch
        )

    def __call__(self, image: Picture) -> Picture:
        """Enlarges an image, or images of one size.

        Args:
            image: a PIL image (L, LA, RGB, RGBA or I;16), or an array (H, W), (H, W, C) or
                (N, H, W, C): uint8 or uint16 with C of 1 (grey), 2 (grey, alpha), 3 (RGB) or
                4 (RGB, alpha); or floats in [0, 1] with C of 1 or 3.

        Returns:
            The same kind, sides `scale` times as long, rounded half up. Floats are float32, and
            are not clipped.

        Raises:
            ValueError: another mode, shape, dtype or range, or too little memory for any tile.
        """
        if isinstance(image, Image.Image):
            if image.mode not in _MODES:
                raise ValueError(
                    f"a PIL image of mode {image.mode}, expected {', '.join(_MODES)}: convert it"
                )
            return Image.fromarray(self(np.asarray(image)))
        if not hasattr(image, "__array__"):
            raise ValueError(f"a {type(image).__name__}, expected a NumPy array or a PIL image")
        image = np.asarray(image)
        if image.dtype.kind != "f" and image.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
            raise ValueError(f"an array of {image.dtype}, expected uint8, uint16 or floats")
        if image.ndim == 4:
            if not len(image):
                raise ValueError("no images: the first of four axes has length 0")
            return np.stack([self(each) for each in image])
        channels = image.shape[2] if image.ndim == 3 else 1
        kinds = (1, 3) if image.dtype.kind == "f" else (1, 2, 3, 4)
        if image.ndim not in (2, 3) or channels not in kinds or not image.size:
            raise ValueError(
                f"an array of shape {image.shape}, expected (H, W), (H, W, C) or (N, H, W, C) with "
                f"C one of {', '.join(map(str, kinds))}"
            )
        image = image.astype(image.dtype.newbyteorder("="), copy=False)
        size = scaled_size(image.shape, self.scale)
        if image.ndim == 3 and channels == 1:
            return self(image[..., 0])[..., None]
        if image.dtype.kind == "f":
            return self._floats(image, size)
        return upscale_image(
            self.model, self.variables, image, self._factor, self._settings, size=size
        )

    def _floats(self, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        low, high = image.min(), image.max()
        if not (low >= 0 and high <= 1):  # nor NaN
            raise ValueError(
                f"floats from {low:g} to {high:g}, expected [0, 1]: divide, or give uint8"
            )
        colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        result = upscale_rgb(self.model, self.variables, colour, self._factor, self._settings)
        if result.shape[:2] != size:
            result = imresize(result, size=size)
        result = result.astype(np.float32, copy=False)
        return result if image.ndim == 3 else result.mean(axis=-1)
