"""SAN as its authors' code names it (daitao/SAN)."""

from collections.abc import Iterator

from sr_jax.interop.layout import (
    ADD_MEAN,
    CONV,
    SUB_MEAN,
    Fields,
    Kind,
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
from sr_jax.models.san import SAN

GAMMA: Kind = (("gamma", "params", "gamma", None),)


def _rows(model: SAN) -> Iterator[Row]:
    yield from (Row("", "", GAMMA), SUB_MEAN)
    for g in range(model.n_resgroups):
        yield Row(f"RG.{g}", "RG", GAMMA, (g,))
        for b in range(model.n_resblocks):
            yield Row(f"RG.{g}.rcab.{b}.conv_first.0", "RG/rcab/conv_0", CONV, (g, b))
            yield Row(f"RG.{g}.rcab.{b}.conv_first.2", "RG/rcab/conv_1", CONV, (g, b))
        yield Row(f"RG.{g}.soca.conv_du.0", "RG/soca/conv_0", CONV, (g,))
        yield Row(f"RG.{g}.soca.conv_du.2", "RG/soca/conv_1", CONV, (g,))
        yield Row(f"RG.{g}.conv_last", "RG/conv_last", CONV, (g,))
    yield from (Row("conv_last", "conv_last"), ADD_MEAN)
    yield Row("non_local.soca.conv_du.0", "non_local/soca/conv_0")
    yield Row("non_local.soca.conv_du.2", "non_local/soca/conv_1")
    for name in ("g.0", "W", "theta", "phi.0"):
        yield Row(f"non_local.non_local.{name}", f"non_local/non_local/{name.split('.')[0]}")
    yield Row("head.0", "head")
    yield from upsampler("tail.0", "upsampler")
    yield Row("tail.1", "tail")


def _fields(weights: StateDict) -> tuple[Fields, Fields]:
    n_feats = size(weights, (r"RG\..*\.conv_first\.[02]\.weight", 0))
    squeezed = size(weights, (r"RG\.\d+\.soca\.conv_du\.0\.weight", 0))
    read = {
        "scale": upscaling(weights, r"tail\.0\.(\d+)\.(?:weight|bias)", n_feats),
        "n_resgroups": largest(weights, r"RG\.(\d+)\.", plus=1),
        "n_resblocks": largest(weights, r"RG\.\d+\.rcab\.(\d+)\.", plus=1),
        "n_feats": n_feats,
        "reduction": quotient(n_feats, squeezed),
        "rgb_range": white(weights),
        "n_colors": size(weights, (r"head\.0\.weight", 1), (r"tail\.1\.weight", 0)),
    }
    return read, {}


LAYOUTS = (Layout(SAN, "san", r"RG\..*", _rows, _fields),)
