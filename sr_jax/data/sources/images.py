"""A pair of high- and low-resolution images, read on demand from files or records."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from sr_jax.data.degradation import downscale, modcrop
from sr_jax.imaging.files import read_image, read_size, to_rgb

Reader = Callable[[], np.ndarray]


@dataclass(frozen=True)
class ImagePair:
    """One image, in high resolution and at the scales that it was loaded for; read on demand.

    Attributes:
        name: unique within the source, e.g. `"0801"`.
        scales: the scales that `pair` and `lr` accept.
        read_hr: reads the whole HR image, uint8 `(H, W, 3)` RGB.
        read_lr: scale -> reader of the LR image that the data set brings, uint8 RGB; at a scale
            that is not a key, the LR image is made by MATLAB bicubic. `str(reader)` names it.
    """

    name: str
    scales: tuple[int, ...]
    read_hr: Reader = field(repr=False)
    read_lr: Mapping[int, Reader] = field(default_factory=dict, repr=False)

    def hr(self, scale: int = 1) -> np.ndarray:
        """The HR image, uint8 `(H, W, 3)`, its sides cropped to multiples of `scale`."""
        return modcrop(self.read_hr(), scale)

    def is_grey(self) -> bool:
        """Whether the HR file holds grey alone; `hr` then has three equal channels."""
        return isinstance(self.read_hr, ImageFile) and self.read_hr.is_grey()

    def shorter_side(self) -> int | None:
        """The shorter side of the HR image in pixels, from the head of its file alone.

        None where that would cost as much as reading the image (DIV2K, none of whose is small).

        Raises:
            ValueError: the file is not an image.
        """
        return self.read_hr.shorter_side() if isinstance(self.read_hr, ImageFile) else None

    def lr(self, scale: int) -> np.ndarray:
        """The LR image, uint8 `(H // scale, W // scale, 3)`. Costs what `pair` costs."""
        return self.pair(scale)[0]

    def pair(self, scale: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads both images of a scale, each once.

        Returns:
            `(lr, hr)`, uint8 RGB of `(h, w, 3)` and `(scale * h, scale * w, 3)`: LR pixel
            `(y, x)` covers the HR block that begins at `(scale * y, scale * x)`.

        Raises:
            ValueError: if `scale` is not one of `scales`, or a file cannot be read, or the LR
                image of the data set is not of the HR's size divided by `scale` (rounded down or,
                as MATLAB does, up: it is cropped then).
        """
        if scale not in self.scales:
            raise ValueError(f"{self.name} was loaded for the scales {self.scales}, not x{scale}")
        whole = self.read_hr()
        hr = modcrop(whole, scale)
        if scale not in self.read_lr:
            return downscale(hr, scale), hr
        lr = self.read_lr[scale]()
        self._check_sizes(scale, lr.shape[:2], whole.shape[:2])
        return lr[: hr.shape[0] // scale, : hr.shape[1] // scale], hr

    def check_sizes(self) -> None:
        """Compares the sizes of the HR and LR files by their heads.

        Raises:
            ValueError: they do not fit; both files are named. A file that cannot be read raises
                nothing here.
        """
        for scale, reader in self.read_lr.items():
            if isinstance(reader, ImageFile) and isinstance(self.read_hr, ImageFile):
                try:
                    lr, hr = read_size(reader.path), read_size(self.read_hr.path)
                except ValueError:
                    continue
                with contextlib.suppress(ValueError):  # where one of the two is stored turned
                    self._check_sizes(scale, lr[::-1], hr)
                    continue
                self._check_sizes(scale, lr, hr)

    def _check_sizes(self, scale: int, lr: tuple[int, ...], hr: tuple[int, ...]) -> None:
        height, width = hr[0] // scale, hr[1] // scale
        # imresize of an HR image that was not cropped rounds the size up (DIV2K x8).
        rounded_up = (-(-hr[0] // scale), -(-hr[1] // scale))
        if tuple(lr) not in ((height, width), rounded_up):
            raise ValueError(
                f"{self.read_lr[scale]} is {lr[1]}x{lr[0]} pixels, expected "
                f"{width}x{height}: 1/{scale} of {self.read_hr}"
            )


@dataclass(frozen=True)
class ImageFile:
    """Reads an image file as 8-bit RGB; prints as its path."""

    path: Path

    def __call__(self) -> np.ndarray:
        image = to_rgb(read_image(self.path))
        if image.dtype == np.uint8:
            return image
        return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)  # round(x / 257)

    def shorter_side(self) -> int:
        """The shorter side in pixels."""
        try:
            with Image.open(self.path) as image:  # reads the head only
                return min(image.size)
        except Exception:  # a kind that Pillow does not know, or a corrupt file, which this tells
            return min(self().shape[:2])

    def is_grey(self) -> bool:
        """Whether the file has one colour channel, alpha aside."""
        image = read_image(self.path)
        return image.ndim == 2 or image.shape[2] < 3

    def __str__(self) -> str:
        return str(self.path)
