"""The geometric self-ensemble, "+" in tables: the mean over the symmetries of the square.

Lim et al. (CVPR Workshops 2017, section 4.4): the input is flipped and transposed in all eight
ways, each goes through the network, and the outputs, turned back, are averaged before rounding.
"""

import numpy as np


def symmetries(image: np.ndarray) -> list[np.ndarray]:
    """The eight views of an image under flips and transposition; none is a copy.

    The views of a result correspond to those of the image, so that what is written into the one
    is turned back by itself: the mean over the symmetries is

        for view, place in zip(symmetries(image), symmetries(result)):
            place += network(view) / 8

    Args:
        image: (H, W, C); it may be a result that is still to be filled.

    Returns:
        Four views (H, W, C), then four (W, H, C); the first is the image itself.
    """
    views = []
    for view in (image, image.swapaxes(0, 1)):
        views += [view, view[::-1], view[:, ::-1], view[::-1, ::-1]]
    return views
