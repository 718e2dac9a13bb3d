"""VGG-16 and VGG-19 as torchvision names them, without the classifier."""

from collections.abc import Iterator

from sr_jax.interop.layout import Fields, Layout, Row, Weights
from sr_jax.models.vgg import VGG


def _rows(model: VGG) -> Iterator[Row]:
    number = 0
    for block, count in enumerate(model.convs_per_block, 1):
        for i in range(1, count + 1):
            yield Row(f"features.{number}", f"conv{block}_{i}")
            number += 2  # an activation follows
        number += 1  # and a pooling


def _fields(weights: Weights) -> tuple[Fields, Fields]:
    last = weights.largest(r"features\.(\d+)\.") or 0
    read = {"convs_per_block": (2, 2, 4, 4, 4) if last > 28 else (2, 2, 3, 3, 3)}
    assumed = {"tap": None, "after_relu": True, "mean": VGG.mean, "std": VGG.std}
    return read, assumed


LAYOUTS = (
    Layout(VGG, "torchvision", r"features\.28\.weight", _rows, _fields, ignored=r"classifier\..*"),
)
