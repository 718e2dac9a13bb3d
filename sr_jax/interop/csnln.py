"""CSNLN as its authors' code names it (SHI-Labs/Cross-Scale-Non-Local-Attention)."""

from collections.abc import Iterator

from sr_jax.interop.layout import CONV, MEAN_SHIFT, PRELU, Fields, Kind, Layout, Row, Weights
from sr_jax.models.csnln import CSNLN

TRANSPOSED: Kind = (("weight", "params", "kernel", (2, 3, 0, 1)), ("bias", "params", "bias", None))
ESCAPE_NAN: Kind = (("escape_NaN", "constants", "escape_NaN", None),)


def _rows(model: CSNLN) -> Iterator[Row]:
    sub_mean, add_mean = MEAN_SHIFT
    yield sub_mean
    yield from _projection("multi_source_projection")
    yield from _conv_prelu("SEM.down_sample_1", "SEM/down_sample_1")
    yield from _conv_prelu("SEM.down_sample_2", "SEM/down_sample_2")
    yield from _conv_prelu("SEM.error_encode", "SEM/error_encode", TRANSPOSED)
    yield from _conv_prelu("SEM.post_conv", "SEM/post_conv")
    yield from _projection("multi_source_projection_2")
    yield from _conv_prelu("SEM.down_sample_3", "SEM/down_sample_3")
    yield from _conv_prelu("SEM.down_sample_4", "SEM/down_sample_4")
    yield from _conv_prelu("SEM.error_encode_2", "SEM/error_encode_2", TRANSPOSED)
    yield add_mean
    yield from _conv_prelu("head.0", "head_0")
    yield from _conv_prelu("head.1", "head_1")
    yield Row("tail.0", "tail")


def _projection(name: str) -> Iterator[Row]:
    torch, ours = f"SEM.{name}", f"SEM/{name}"
    yield Row(f"{torch}.up_attention", f"{ours}/up_attention", ESCAPE_NAN)
    for conv in ("conv_match_1", "conv_match_2", "conv_assembly"):
        yield from _conv_prelu(f"{torch}.up_attention.{conv}", f"{ours}/up_attention/{conv}")
    for conv in ("conv_match1", "conv_match2", "conv_assembly"):
        yield from _conv_prelu(f"{torch}.down_attention.{conv}", f"{ours}/down_attention/{conv}")
    yield from _conv_prelu(f"{torch}.upsample", f"{ours}/upsample", TRANSPOSED)
    yield from _conv_prelu(f"{torch}.encoder.body", f"{ours}/encoder/body_0")
    yield Row(f"{torch}.encoder.body.2", f"{ours}/encoder/body_1")


def _conv_prelu(torch: str, ours: str, kind: Kind = CONV) -> Iterator[Row]:
    yield from (Row(f"{torch}.0", f"{ours}/conv", kind), Row(f"{torch}.1", f"{ours}/prelu", PRELU))


def _fields(weights: Weights) -> tuple[Fields, Fields]:
    n_feats = weights.size((r"SEM\.(down_sample|error_encode).*\.0\.(weight|bias)", 0))
    large = weights.size((r"SEM\.multi_source_projection\.upsample\.0\.weight", 2))
    twice = weights.has(r"SEM\.(multi_source_projection_2|down_sample_[34]).*")
    concatenated = weights.size((r"tail\.0\.weight", 1))
    read = {
        "scale": 4 if twice else 3 if large == 9 else 2,
        "n_feats": n_feats,
        "depth": concatenated // n_feats if concatenated and n_feats else None,
        "rgb_range": weights.rgb_range(),
        "n_colors": weights.size((r"head\.0\.0\.weight", 1), (r"tail\.0\.weight", 0)),
    }
    return read, {}


LAYOUTS = (Layout(CSNLN, "csnln", r"SEM\..*", _rows, _fields),)
