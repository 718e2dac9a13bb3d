"""RCAN as its authors' code names it (yulunzhang/RCAN)."""

from collections.abc import Iterator

from sr_jax.interop.layout import CONV, MEAN_SHIFT, Fields, Layout, Row, Weights, upsampler
from sr_jax.models.rcan import RCAN


def _rows(model: RCAN) -> Iterator[Row]:
    yield from MEAN_SHIFT
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


def _fields(weights: Weights) -> tuple[Fields, Fields]:
    n_feats = weights.size((r"body\..*\.body\.[02]\.weight", 0))
    squeezed = weights.size((r"body\..*\.conv_du\.0\.weight", 0))
    read = {
        "scale": weights.upscaling(r"tail\.0\.(\d+)\.(?:weight|bias)", n_feats),
        "n_resgroups": weights.largest(r"body\.(\d+)\."),
        "n_resblocks": weights.largest(r"body\.\d+\.body\.(\d+)\."),
        "n_feats": n_feats,
        "reduction": n_feats // squeezed if n_feats and squeezed else None,
        "rgb_range": weights.rgb_range(),
        "n_colors": weights.size((r"head\.0\.weight", 1), (r"tail\.1\.weight", 0)),
    }
    return read, {}


LAYOUTS = (Layout(RCAN, "rcan", r"body\..*\.conv_du\..*", _rows, _fields),)
