"""RCAN as its authors' code names it (yulunzhang/RCAN)."""

from collections.abc import Iterator

from sr_jax.interop.layout import (
    ADD_MEAN,
    CONV,
    SUB_MEAN,
    Fields,
    Layout,
    Row,
    StateDict,
    largest,
    quotient,
    size,
    upsampler,
    upscaling,
    white,
)
from sr_jax.models.rcan import RCAN


def _rows(model: RCAN) -> Iterator[Row]:
    yield from (SUB_MEAN, ADD_MEAN)
    yield Row("head.0", "head")
    for g in range(model.n_resgroups):
        for b in range(model.n_resblocks):
            block, at = f"body.{g}.body.{b}.body", (g, b)
            yield Row(f"{block}.0", "body/blocks/conv_0", CONV, at)
            yield Row(f"{block}.2", "body/blocks/conv_1", CONV, at)
            yield Row(f"{block}.3.conv_du.0", "body/blocks/attention/conv_0", CONV, at)
            yield Row(f"{block}.3.conv_du.2", "body/blocks/attention/conv_1", CONV, at)
        yield Row(f"body.{g}.body.{model.n_resblocks}", "body/conv", CONV, (g,))
    yield Row(f"body.{model.n_resgroups}", "body_conv")
    yield from upsampler("tail.0", "upsampler")
    yield Row("tail.1", "tail")


def _fields(weights: StateDict) -> tuple[Fields, Fields]:
    n_feats = size(weights, (r"body\..*\.body\.[02]\.weight", 0))
    squeezed = size(weights, (r"body\..*\.conv_du\.0\.weight", 0))
    read = {
        "scale": upscaling(weights, r"tail\.0\.(\d+)\.(?:weight|bias)", n_feats),
        "n_resgroups": largest(weights, r"body\.(\d+)\."),
        "n_resblocks": largest(weights, r"body\.\d+\.body\.(\d+)\."),
        "n_feats": n_feats,
        "reduction": quotient(n_feats, squeezed),
        "rgb_range": white(weights),
        "n_colors": size(weights, (r"head\.0\.weight", 1), (r"tail\.1\.weight", 0)),
    }
    return read, {}


LAYOUTS = (Layout(RCAN, "rcan", r"body\..*\.conv_du\..*", _rows, _fields),)
