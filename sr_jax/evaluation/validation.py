"""Scores and pictures of a network while it is trained."""

from collections.abc import Sequence

import jax
import numpy as np
from absl import logging

from sr_jax.cluster import sum_over_processes
from sr_jax.data.sources import ImagePair
from sr_jax.evaluation.scoring import Loaded, score_image
from sr_jax.imaging.resize import imresize

PICTURE_SIZE = 192  # side of the sample pictures in TensorBoard, pixels
PICTURES = 3


def validate(
    network: Loaded | None, images: Sequence[ImagePair], scales: tuple[int, ...]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """PSNR and SSIM of the luma on the validation images, and pictures of a few of them.

    Several processes take turns: process i of n scores the images i, i + n, i + 2n ..., and all
    get the means over all images. Every process must call. Images that cannot be read or scored
    are named in the log, and the means are over the others.

    Args:
        network: (model, variables), or None for bicubic interpolation.
        images: the validation images.
        scales: the scales to validate at.

    Returns:
        Means by scale, such as 'validation/psnr_x2' ('validation/bicubic_psnr_x2'), and pictures
        (H, 3 * W, 3) uint8 of bicubic interpolation, the network and the original side by side.
    """
    kind = "validation/" if network else "validation/bicubic_"
    mine = range(jax.process_index(), len(images), jax.process_count())
    totals = np.zeros((len(scales), 3))  # PSNR, SSIM, images
    pictures: dict[str, np.ndarray] = {}
    for place, scale in enumerate(scales):
        for index in mine:
            image = images[index]
            try:
                *score, result = score_image(image, scale, network)
            except ValueError as error:
                logging.warning("left out of validation at x%d: %s: %s", scale, image.name, error)
                continue
            if np.isfinite(score).all():  # the PSNR of equal images, say of a blank one, is not
                totals[place] += *score, 1
            if index in mine[:PICTURES]:
                lr, hr = image.pair(scale)
                panels = [_centre(panel) for panel in (imresize(lr, scale), result, hr)]
                pictures[f"x{scale}/{image.name}"] = np.concatenate(panels, axis=1)
    means: dict[str, float] = {}
    for scale, (psnr, ssim, count) in zip(scales, sum_over_processes(totals), strict=True):
        if count:
            means |= {f"{kind}psnr_x{scale}": psnr / count, f"{kind}ssim_x{scale}": ssim / count}
    return means, pictures


def _centre(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, (side - PICTURE_SIZE) // 2) for side in image.shape[:2])
    return image[top : top + PICTURE_SIZE, left : left + PICTURE_SIZE]
