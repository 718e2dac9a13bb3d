"""VDSR as twtygqyy/pytorch-vdsr, the EDSR repository and Lornatang/VDSR-PyTorch name it."""

from collections.abc import Iterator

from sr_jax.interop.layout import CONV, MEAN_SHIFT, Fields, Layout, Row, Weights
from sr_jax.models.vdsr import VDSR


def _twtygqyy(model: VDSR) -> Iterator[Row]:
    yield from MEAN_SHIFT
    yield from (Row(f"residual_layer.{i}.conv", "body", CONV, (i,)) for i in range(model.depth - 2))
    yield from (Row("input", "head"), Row("output", "tail"))


def _edsr(model: VDSR) -> Iterator[Row]:
    yield from MEAN_SHIFT
    yield Row("body.0.0", "head")
    yield from (Row(f"body.{i + 1}.0", "body", CONV, (i,)) for i in range(model.depth - 2))
    yield Row(f"body.{model.depth - 1}.0", "tail")


def _lornatang(model: VDSR) -> Iterator[Row]:
    yield from MEAN_SHIFT
    yield Row("conv1.0", "head")
    yield from (Row(f"trunk.{i}.conv", "body", CONV, (i,)) for i in range(model.depth - 2))
    yield Row("conv2", "tail")


def _fields(weights: Weights, head: str, numbered: str, others: int) -> tuple[Fields, Fields]:
    """`numbered` fits the convolutions that are counted from 0; the depth is the last number plus
    `others`."""
    read = {
        "depth": weights.largest(numbered, plus=others),
        "n_feats": weights.size((numbered + "weight", 0)),
        "n_colors": weights.size((head, 1)),
        "use_bias": weights.has(numbered + "bias"),
        "rgb_range": weights.rgb_range(),
    }
    return read, {"scale": None}


LAYOUTS = (
    Layout(
        VDSR,
        "twtygqyy",
        r"residual_layer\.\d+\.conv\.weight",
        _twtygqyy,
        lambda weights: _fields(weights, r"input\.weight", r"residual_layer\.(\d+)\.conv\.", 3),
        preferred=lambda model: not model.use_bias,  # that code has none
    ),
    Layout(
        VDSR,
        "edsr",
        r"body\.\d+\.0\.weight",
        _edsr,
        lambda weights: _fields(weights, r"body\.0\.0\.weight", r"body\.(\d+)\.0\.", 1),
    ),
    Layout(
        VDSR,
        "lornatang",
        r"trunk\.\d+\.conv\.weight",
        _lornatang,
        lambda weights: _fields(weights, r"conv1\.0\.weight", r"trunk\.(\d+)\.conv\.", 3),
    ),
)
