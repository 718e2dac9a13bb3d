"""MDSR as the EDSR repository names it (sanghyun-son/EDSR-PyTorch)."""

from collections.abc import Iterator

from sr_jax.interop.layout import MEAN_SHIFT, Fields, Layout, Row, Weights, resblocks, upsampler
from sr_jax.models.mdsr import MDSR


def _rows(model: MDSR) -> Iterator[Row]:
    yield from MEAN_SHIFT
    for i, scale in enumerate(model.scales):
        yield from resblocks(f"pre_process.{i}", f"pre_process_x{scale}", 2)
    for i, scale in enumerate(model.scales):
        yield from upsampler(f"upsample.{i}", f"upsampler_x{scale}")
    yield Row("head.0", "head")
    yield from resblocks("body", "body", model.n_resblocks)
    yield Row(f"body.{model.n_resblocks}", "body_conv")
    yield Row("tail.0", "tail")


def _fields(weights: Weights) -> tuple[Fields, Fields]:
    read = {
        "n_resblocks": weights.largest(r"body\.(\d+)\."),
        "n_feats": weights.size((r"body\..*\.weight", 0)),
        "rgb_range": weights.rgb_range(),
        "n_colors": weights.size((r"head\.0\.weight", 1), (r"tail\.0\.weight", 0)),
    }
    return read, {"scales": (2, 3, 4)}


LAYOUTS = (Layout(MDSR, "edsr", r"pre_process\..*", _rows, _fields),)
