"""EDSR as its authors' PyTorch code names it (sanghyun-son/EDSR-PyTorch)."""

from collections.abc import Iterator

from sr_jax.interop.layout import MEAN_SHIFT, Fields, Layout, Row, Weights, resblocks, upsampler
from sr_jax.models.edsr import EDSR


def _rows(model: EDSR) -> Iterator[Row]:
    yield from MEAN_SHIFT
    yield Row("head.0", "head")
    yield from resblocks("body", "body", model.n_resblocks)
    yield Row(f"body.{model.n_resblocks}", "body_conv")
    yield from upsampler("tail.0", "upsampler")
    yield Row("tail.1", "tail")


def _fields(weights: Weights) -> tuple[Fields, Fields]:
    n_feats = weights.size((r"body\..*\.weight", 0), (r"head\.0\.weight", 0))
    read = {
        "scale": weights.upscaling(r"tail\.0\.(\d+)\.(?:weight|bias)", n_feats),
        "n_resblocks": weights.largest(r"body\.(\d+)\."),
        "n_feats": n_feats,
        "rgb_range": weights.rgb_range(),
        "n_colors": weights.size((r"head\.0\.weight", 1), (r"tail\.1\.weight", 0)),
    }
    return read, {"res_scale": 0.1 if n_feats == 256 else 1.0}


LAYOUTS = (Layout(EDSR, "edsr", r"body\.\d+\.body\.\d+\.weight", _rows, _fields),)
