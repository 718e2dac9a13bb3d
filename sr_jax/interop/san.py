"""SAN as its authors' code names it (daitao/SAN)."""

from collections.abc import Iterator

from sr_jax.interop.layout import CONV, MEAN_SHIFT, Fields, Kind, Layout, Row, Weights, upsampler
from sr_jax.models.san import SAN

GAMMA: Kind = (("gamma", "params", "gamma", None),)


def _rows(model: SAN) -> Iterator[Row]:
    sub_mean, add_mean = MEAN_SHIFT
    yield from (Row("", "", GAMMA), sub_mean)
    for g in range(model.n_resgroups):
        yield Row(f"RG.{g}", "RG", GAMMA, (g,))
        for b in range(model.n_resblocks):
            yield Row(f"RG.{g}.rcab.{b}.conv_first.0", "RG/rcab/conv_0", CONV, (g, b))
            yield Row(f"RG.{g}.rcab.{b}.conv_first.2", "RG/rcab/conv_1", CONV, (g, b))
        yield Row(f"RG.{g}.soca.conv_du.0", "RG/soca/conv_0", CONV, (g,))
        yield Row(f"RG.{g}.soca.conv_du.2", "RG/soca/conv_1", CONV, (g,))
        yield Row(f"RG.{g}.conv_last", "RG/conv_last", CONV, (g,))
    yield from (Row("conv_last", "conv_last"), add_mean)
    yield Row("non_local.soca.conv_du.0", "non_local/soca/conv_0")
    yield Row("non_local.soca.conv_du.2", "non_local/soca/conv_1")
    for name in ("g.0", "W", "theta", "phi.0"):
        yield Row(f"non_local.non_local.{name}", f"non_local/non_local/{name.split('.')[0]}")
    yield Row("head.0", "head")
    yield from upsampler("tail.0", "upsampler")
    yield Row("tail.1", "tail")


def _fields(weights: Weights) -> tuple[Fields, Fields]:
    n_feats = weights.size((r"RG\..*\.conv_first\.[02]\.weight", 0))
    squeezed = weights.size((r"RG\.\d+\.soca\.conv_du\.0\.weight", 0))
    read = {
        "scale": weights.upscaling(r"tail\.0\.(\d+)\.(?:weight|bias)", n_feats),
        "n_resgroups": weights.largest(r"RG\.(\d+)\.", plus=1),
        "n_resblocks": weights.largest(r"RG\.\d+\.rcab\.(\d+)\.", plus=1),
        "n_feats": n_feats,
        "reduction": n_feats // squeezed if n_feats and squeezed else None,
        "rgb_range": weights.rgb_range(),
        "n_colors": weights.size((r"head\.0\.weight", 1), (r"tail\.1\.weight", 0)),
    }
    return read, {}


LAYOUTS = (Layout(SAN, "san", r"RG\..*", _rows, _fields),)
