"""EDSR as its authors' PyTorch code names it (sanghyun-son/EDSR-PyTorch)."""

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
    upscaling,
    white,
)
from sr_jax.models.edsr import EDSR


def _rows(model: EDSR) -> Iterator[Row]:
    yield from (SUB_MEAN, ADD_MEAN)
    yield Row("head.0", "head")
    yield from residual_blocks("body", "body", model.n_resblocks)
    yield Row(f"body.{model.n_resblocks}", "body_conv")
    yield from upsampler("tail.0", "upsampler")
    yield Row("tail.1", "tail")


def _fields(weights: StateDict) -> tuple[Fields, Fields]:
    n_feats = size(weights, (r"body\..*\.weight", 0), (r"head\.0\.weight", 0))
    read = {
        "scale": upscaling(weights, r"tail\.0\.(\d+)\.(?:weight|bias)", n_feats),
        "n_resblocks": largest(weights, r"body\.(\d+)\."),
        "n_feats": n_feats,
        "rgb_range": white(weights),
        "n_colors": size(weights, (r"head\.0\.weight", 1), (r"tail\.1\.weight", 0)),
    }
    return read, {"res_scale": 0.1 if n_feats == 256 else 1.0}


LAYOUTS = (Layout(EDSR, "edsr", r"body\.\d+\.body\.\d+\.weight", _rows, _fields),)
