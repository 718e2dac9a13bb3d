"""SRResNet, which is SRGAN's generator too, by the names of Lornatang/SRGAN-PyTorch and of
leftthomas/SRGAN, whose networks end in tanh."""

from collections.abc import Iterator

from sr_jax.interop.layout import BATCH_NORM, CONV, PRELU, Fields, Layout, Row, Weights
from sr_jax.models.layers import shuffle_factors
from sr_jax.models.srresnet import SRResNet

BLOCK = {"conv_0": CONV, "norm_0": BATCH_NORM, "prelu": PRELU, "conv_1": CONV, "norm_1": BATCH_NORM}
# leftthomas' names of the same, in the same order.
LEFTTHOMAS = ("conv1", "bn1", "prelu", "conv2", "bn2")


def _rows(model: SRResNet) -> Iterator[Row]:
    yield from (Row("conv1.0", "head"), Row("conv1.1", "head_prelu", PRELU))
    for i in range(model.n_resblocks):
        for j, (name, kind) in enumerate(BLOCK.items()):
            yield Row(f"trunk.{i}.rcb.{j}", f"body/{name}", kind, (i,))
    yield from (Row("conv2.0", "body_conv"), Row("conv2.1", "body_norm", BATCH_NORM))
    for i in range(3):
        yield Row(f"upsampling.{i}.upsample_block.0", f"upsampler/conv_{i}")
        yield Row(f"upsampling.{i}.upsample_block.2", f"upsampler/prelu_{i}", PRELU)
    yield Row("conv3", "tail")


def _fields(weights: Weights) -> tuple[Fields, Fields]:
    n_feats = weights.size((r"trunk\..*\.rcb\.[03]\.weight", 0))
    slopes = weights.size((r"trunk\..*\.rcb\.2\.weight|conv1\.1\.weight", 0))
    read = {
        "scale": weights.upscaling(r"upsampling\.(\d+)\.upsample_block\.0\..*", n_feats),
        "n_resblocks": weights.largest(r"trunk\.(\d+)\.", plus=1),
        "n_feats": n_feats,
        "n_colors": weights.size((r"conv1\.0\.weight", 1), (r"conv3\.weight", 0)),
        "prelu_per_channel": None if slopes is None else slopes > 1,
        "conv_bias": weights.has(r"trunk\.\d+\.rcb\.[03]\.bias"),
    }
    return read, {"output": "linear", "bn_epsilon": 1e-5}


def _leftthomas_rows(model: SRResNet) -> Iterator[Row]:
    yield from (Row("block1.0", "head"), Row("block1.1", "head_prelu", PRELU))
    for i in range(model.n_resblocks):
        for theirs, (name, kind) in zip(LEFTTHOMAS, BLOCK.items(), strict=True):
            yield Row(f"block{i + 2}.{theirs}", f"body/{name}", kind, (i,))
    after = model.n_resblocks + 2
    yield Row(f"block{after}.0", "body_conv")
    yield Row(f"block{after}.1", "body_norm", BATCH_NORM)
    stages = len(shuffle_factors(model.scale))
    for i in range(stages):
        yield Row(f"block{after + 1}.{i}.conv", f"upsampler/conv_{i}")
        yield Row(f"block{after + 1}.{i}.prelu", f"upsampler/prelu_{i}", PRELU)
    yield Row(f"block{after + 1}.{stages}", "tail")


def _leftthomas_fields(weights: Weights) -> tuple[Fields, Fields]:
    n_feats = weights.size((r"block\d+\.conv[12]\.weight", 0))
    slopes = weights.size((r"block\d+\.prelu\.weight|block1\.1\.weight", 0))
    read = {
        "scale": weights.upscaling(r"block\d+\.(\d+)\.conv\..*", n_feats),
        "n_resblocks": weights.largest(r"block(\d+)\.conv1\.", plus=-1),
        "n_feats": n_feats,
        "n_colors": weights.size((r"block1\.0\.weight", 1)),
        "prelu_per_channel": None if slopes is None else slopes > 1,
        "conv_bias": weights.has(r"block\d+\.conv[12]\.bias"),
    }
    return read, {"output": "tanh", "bn_epsilon": 1e-5}


LAYOUTS = (
    Layout(
        SRResNet,
        "leftthomas",
        r"block\d+\.bn1\..*",
        _leftthomas_rows,
        _leftthomas_fields,
        holds=lambda model: model.output == "tanh" and model.scale != 3,
    ),
    Layout(
        SRResNet,
        "lornatang",
        r"trunk\.\d+\.rcb\..*",
        _rows,
        _fields,
        holds=lambda model: model.output == "linear",
    ),
)
