"""SRCNN as yjn870/SRCNN-pytorch and mmagic name it, and as Lornatang/SRCNN-PyTorch does."""

import re
from collections.abc import Iterator

from sr_jax.interop.layout import Fields, Layout, Row, Weights
from sr_jax.models.srcnn import SRCNN


def _layout(name: str, marker: str, *convs: str) -> Layout:
    def rows(model: SRCNN) -> Iterator[Row]:
        yield from (Row(conv, f"conv_{i}") for i, conv in enumerate(convs))

    def fields(weights: Weights) -> tuple[Fields, Fields]:
        first, second, third = (re.escape(f"{conv}.weight") for conv in convs)
        kernel_sizes = tuple(weights.size((w, 2), (w, 3)) for w in (first, second, third))
        widths = (weights.size((first, 0), (second, 1)), weights.size((second, 0), (third, 1)))
        read = {
            "kernel_sizes": None if None in kernel_sizes else kernel_sizes,
            "n_feats": None if None in widths else widths,
            "n_colors": weights.size((first, 1), (third, 0)),
        }
        return read, {"padding": "zeros", "scale": None}

    return Layout(SRCNN, name, marker, rows, fields)


LAYOUTS = (
    _layout("yjn870", r"conv[123]\.weight", "conv1", "conv2", "conv3"),
    _layout(
        "lornatang", r"(map\.0|reconstruction)\.weight", "features.0", "map.0", "reconstruction"
    ),
)
