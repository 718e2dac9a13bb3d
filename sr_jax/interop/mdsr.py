"""MDSR as the EDSR repository names it (sanghyun-son/EDSR-PyTorch)."""

from collections.abc import Iterator

from sr_jax.interop.layout import (
    ADD_MEAN,
    SUB_MEAN,
    Fields,
    Layout,
    Row,
    StateDict,
    largest,
    residual_blocks,
    size,
    upsampler,
    white,
)
from sr_jax.models.mdsr import MDSR


def _rows(model: MDSR) -> Iterator[Row]:
    yield from (SUB_MEAN, ADD_MEAN)
    for i, scale in enumerate(model.scales):
        yield from residual_blocks(f"pre_process.{i}", f"pre_process_x{scale}", 2)
    for i, scale in enumerate(model.scales):
        yield from upsampler(f"upsample.{i}", f"upsampler_x{scale}")
    yield Row("head.0", "head")
    yield from residual_blocks("body", "body", model.n_resblocks)
    yield Row(f"body.{model.n_resblocks}", "body_conv")
    yield Row("tail.0", "tail")


def _fields(weights: StateDict) -> tuple[Fields, Fields]:
    read = {
        "n_resblocks": largest(weights, r"body\.(\d+)\."),
        "n_feats": size(weights, (r"body\..*\.weight", 0)),
        "rgb_range": white(weights),
        "n_colors": size(weights, (r"head\.0\.weight", 1), (r"tail\.0\.weight", 0)),
    }
    return read, {"scales": (2, 3, 4)}


LAYOUTS = (Layout(MDSR, "edsr", r"pre_process\..*", _rows, _fields),)
