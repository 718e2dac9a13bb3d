"""What is done with scored images beside PSNR and SSIM."""

from pathlib import Path

import numpy as np

from sr_jax.data.sources import ImagePair
from sr_jax.evaluation.page import ORIGINAL, has_image, keep_image
from sr_jax.evaluation.scoring import BICUBIC, Key, Score
from sr_jax.imaging.files import write_image


class Extras:
    """Measures distances of features, and keeps the upscaled images."""

    def __init__(
        self,
        *,
        lpips: bool = False,
        dists: bool = False,
        images: str | Path | None = None,
        page: Path | None = None,
    ) -> None:
        """Loads what is needed.

        Args:
            lpips, dists: whether these are measured.
            images: the folder for the upscaled images; None keeps none.
            page: the folder for the images of a page, see `page.keep_image`; None keeps none.

        Raises:
            ValueError: a distance needs a package that is not installed.
        """
        self._lpips = self._dists = None
        if lpips or dists:
            from sr_jax.evaluation import perceptual

            self._lpips = perceptual.load_lpips() if lpips else None
            self._dists = perceptual.load_dists() if dists else None
        self._images, self._page = images, page

    def __call__(self, pair: ImagePair, score: Score, image: np.ndarray) -> Score:
        """The score with the distances.

        Args:
            pair: what was scored.
            score: of it.
            image: as it was upscaled, uint8 RGB.

        Raises:
            ValueError, OSError: it cannot be measured or written.
        """
        if self._lpips:
            score = score._replace(lpips=self._lpips(image, pair.hr(score.scale)))
        if self._dists:
            score = score._replace(dists=self._dists(image, pair.hr(score.scale)))
        key = Key(*score[:4])
        if self._images:
            write_image(image_path(self._images, key), image)
        if self._page:
            keep_image(self._page, key, image)
            original = key._replace(method=ORIGINAL)
            if key.method == BICUBIC.method or not has_image(self._page, original):
                keep_image(self._page, original, pair.hr(score.scale))
        return score


def image_path(folder: str | Path, key: Key) -> Path:
    """Where the upscaled image of a score is kept: FOLDER/SET/X<scale>/METHOD/IMAGE.png."""
    return Path(folder, key.dataset, f"X{key.scale}", key.method, f"{key.image}.png")
