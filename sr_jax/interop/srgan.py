"""SRGAN's discriminator as Lornatang/SRGAN-PyTorch names it. The generator is `srresnet`'s."""

import math
from collections.abc import Iterator

from sr_jax.interop.layout import BATCH_NORM, Fields, Kind, Layout, Row, Weights
from sr_jax.models.srgan import Discriminator

LINEAR: Kind = (("weight", "params", "kernel", (1, 0)), ("bias", "params", "bias", None))


def _rows(model: Discriminator) -> Iterator[Row]:
    yield Row("features.0", "conv_0")
    for i in range(1, 8):
        yield Row(f"features.{3 * i - 1}", f"conv_{i}")
        yield Row(f"features.{3 * i}", f"norm_{i}", BATCH_NORM)
    yield from (Row("classifier.0", "dense_0", LINEAR), Row("classifier.2", "dense_1", LINEAR))


def _fields(weights: Weights) -> tuple[Fields, Fields]:
    n_feats = weights.size((r"features\.[023]\.(weight|bias)", 0))
    flat = weights.size((r"classifier\.0\.weight", 1))
    read = {
        # Four halvings and eight times the channels lie between the image and the dense layer.
        "image_size": 16 * math.isqrt(flat // (8 * n_feats)) if flat and n_feats else None,
        "n_feats": n_feats,
        "n_colors": weights.size((r"features\.0\.weight", 1)),
    }
    return read, {}


LAYOUTS = (Layout(Discriminator, "lornatang", r"features\.\d+\.running_mean", _rows, _fields),)
