"""What the names and shapes of a state dict tell about the network, and what is assumed.

One function for each network: state dict -> (hyper-parameters read off, hyper-parameters assumed).
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from sr_jax.models.layers import DIV2K_MEAN
from sr_jax.models.vgg import VGG

StateDict = Mapping[str, np.ndarray]
Fields = dict[str, Any]

# What is read off the names and shapes. Majorities count, so that one tensor of a wrong shape is
# reported as such rather than believed.


def _most(*sizes: int) -> int | None:
    return Counter(sizes).most_common(1)[0][0] if sizes else None


def _size(state_dict: StateDict, *places: tuple[str, int]) -> int | None:
    """The most frequent length of an axis among the tensors whose whole name fits a pattern."""
    return _most(
        *(
            tensor.shape[axis]
            for pattern, axis in places
            for name, tensor in state_dict.items()
            if re.fullmatch(pattern, name) and tensor.ndim > axis
        )
    )


def _last(state_dict: StateDict, pattern: str) -> int | None:
    """The largest number that stands in the group of a pattern at the start of a name."""
    matches = (re.match(pattern, name) for name in state_dict)
    return max((int(match[1]) for match in matches if match), default=None)


def _known(**fields: Any) -> Fields:
    """What could be read off; the rest keeps the network's default and shows up as missing."""
    return {name: value for name, value in fields.items() if value is not None}


def _plus(number: int | None, more: int) -> int | None:
    return None if number is None else number + more


def _rgb_range(state_dict: StateDict) -> float:
    """The value of white that the mean shift was made for; 1 where there is none."""
    if "sub_mean.bias" not in state_dict:
        return 1.0
    white = float(-np.mean(state_dict["sub_mean.bias"], dtype=np.float64) / np.mean(DIV2K_MEAN))
    # RCAN and SAN train these values, and some checkpoints have another data set's mean.
    usual = (known for known in (1.0, 255.0) if abs(white / known - 1) < 0.25)
    return next(usual, round(white, 4))


def _upsampling(state_dict: StateDict, stage: str, n_feats: int | None) -> int | None:
    """The scale of sub-pixel stages whose convolutions are named by a pattern with one number."""
    numbers = {m[1] for m in (re.fullmatch(stage, name) for name in state_dict) if m}
    if not numbers or not n_feats:
        return None
    return 3 if _size(state_dict, (stage, 0)) == 9 * n_feats else 2 ** len(numbers)


def srcnn_fields(names: tuple[str, str, str], weights: StateDict) -> tuple[Fields, Fields]:
    first, second, third = (re.escape(f"{name}.weight") for name in names)
    kernel_sizes = tuple(_size(weights, (w, 2), (w, 3)) for w in (first, second, third))
    widths = (_size(weights, (first, 0), (second, 1)), _size(weights, (second, 0), (third, 1)))
    read = _known(
        kernel_sizes=None if None in kernel_sizes else kernel_sizes,
        n_feats=None if None in widths else widths,
        n_colors=_size(weights, (first, 1), (third, 0)),
    )
    return read, {"padding": "zeros", "scale": None}


def vdsr_fields(
    first: str, repeated: str, others: int, weights: StateDict
) -> tuple[Fields, Fields]:
    """`repeated` is the pattern of convolutions counted from 0, of which there are `others` more
    than the last one's number; `first` that of the first convolution."""
    read = _known(
        depth=_plus(_last(weights, repeated), others),
        n_feats=_size(weights, (repeated + "weight", 0)),
        n_colors=_size(weights, (first, 1)),
        use_bias=any(re.fullmatch(repeated + "bias", name) for name in weights),
        rgb_range=_rgb_range(weights),
    )
    return read, {"scale": None}


def srresnet_fields(weights: StateDict) -> tuple[Fields, Fields]:
    n_feats = _size(weights, (r"trunk\..*\.rcb\.[03]\.weight", 0))
    slopes = _size(weights, (r"trunk\..*\.rcb\.2\.weight|conv1\.1\.weight", 0))
    read = _known(
        scale=_upsampling(weights, r"upsampling\.(\d+)\.upsample_block\.0\..*", n_feats),
        n_resblocks=_plus(_last(weights, r"trunk\.(\d+)\."), 1),
        n_feats=n_feats,
        n_colors=_size(weights, (r"conv1\.0\.weight", 1), (r"conv3\.weight", 0)),
        prelu_per_channel=None if slopes is None else slopes > 1,
        conv_bias=any(re.fullmatch(r"trunk\.\d+\.rcb\.[03]\.bias", name) for name in weights),
    )
    return read, {"output": "linear", "bn_epsilon": 1e-5}


def discriminator_fields(weights: StateDict) -> tuple[Fields, Fields]:
    n_feats = _size(weights, (r"features\.[023]\.(weight|bias)", 0))
    flat = _size(weights, (r"classifier\.0\.weight", 1))
    read = _known(
        # Four halvings and eight times the channels lie between the image and the dense layer.
        image_size=16 * math.isqrt(flat // (8 * n_feats)) if flat and n_feats else None,
        n_feats=n_feats,
        n_colors=_size(weights, (r"features\.0\.weight", 1)),
    )
    return read, {}


def edsr_fields(weights: StateDict) -> tuple[Fields, Fields]:
    n_feats = _size(weights, (r"body\..*\.weight", 0), (r"head\.0\.weight", 0))
    read = _known(
        scale=_upsampling(weights, r"tail\.0\.(\d+)\.(?:weight|bias)", n_feats),
        n_resblocks=_last(weights, r"body\.(\d+)\."),
        n_feats=n_feats,
        rgb_range=_rgb_range(weights),
        n_colors=_size(weights, (r"head\.0\.weight", 1), (r"tail\.1\.weight", 0)),
    )
    return read, {"res_scale": 0.1 if n_feats == 256 else 1.0}


def mdsr_fields(weights: StateDict) -> tuple[Fields, Fields]:
    read = _known(
        n_resblocks=_last(weights, r"body\.(\d+)\."),
        n_feats=_size(weights, (r"body\..*\.weight", 0)),
        rgb_range=_rgb_range(weights),
        n_colors=_size(weights, (r"head\.0\.weight", 1), (r"tail\.0\.weight", 0)),
    )
    return read, {"scales": (2, 3, 4)}


def rcan_fields(weights: StateDict) -> tuple[Fields, Fields]:
    n_feats = _size(weights, (r"body\..*\.body\.[02]\.weight", 0))
    squeezed = _size(weights, (r"body\..*\.conv_du\.0\.weight", 0))
    read = _known(
        scale=_upsampling(weights, r"tail\.0\.(\d+)\.(?:weight|bias)", n_feats),
        n_resgroups=_last(weights, r"body\.(\d+)\."),
        n_resblocks=_last(weights, r"body\.\d+\.body\.(\d+)\."),
        n_feats=n_feats,
        reduction=n_feats // squeezed if n_feats and squeezed else None,
        rgb_range=_rgb_range(weights),
        n_colors=_size(weights, (r"head\.0\.weight", 1), (r"tail\.1\.weight", 0)),
    )
    return read, {}


def san_fields(weights: StateDict) -> tuple[Fields, Fields]:
    n_feats = _size(weights, (r"RG\..*\.conv_first\.[02]\.weight", 0))
    squeezed = _size(weights, (r"RG\.\d+\.soca\.conv_du\.0\.weight", 0))
    read = _known(
        scale=_upsampling(weights, r"tail\.0\.(\d+)\.(?:weight|bias)", n_feats),
        n_resgroups=_plus(_last(weights, r"RG\.(\d+)\."), 1),
        n_resblocks=_plus(_last(weights, r"RG\.\d+\.rcab\.(\d+)\."), 1),
        n_feats=n_feats,
        reduction=n_feats // squeezed if n_feats and squeezed else None,
        rgb_range=_rgb_range(weights),
        n_colors=_size(weights, (r"head\.0\.weight", 1), (r"tail\.1\.weight", 0)),
    )
    return read, {}


def csnln_fields(weights: StateDict) -> tuple[Fields, Fields]:
    n_feats = _size(weights, (r"SEM\.(down_sample|error_encode).*\.0\.(weight|bias)", 0))
    large = _size(weights, (r"SEM\.multi_source_projection\.upsample\.0\.weight", 2))
    twice = any(re.match(r"SEM\.(multi_source_projection_2|down_sample_[34])", n) for n in weights)
    concatenated = _size(weights, (r"tail\.0\.weight", 1))
    read = _known(
        scale=4 if twice else 3 if large == 9 else 2,
        n_feats=n_feats,
        depth=concatenated // n_feats if concatenated and n_feats else None,
        rgb_range=_rgb_range(weights),
        n_colors=_size(weights, (r"head\.0\.0\.weight", 1), (r"tail\.0\.weight", 0)),
    )
    return read, {}


def vgg_fields(weights: StateDict) -> tuple[Fields, Fields]:
    last = _last(weights, r"features\.(\d+)\.") or 0
    read = {"convs_per_block": (2, 2, 4, 4, 4) if last > 28 else (2, 2, 3, 3, 3)}
    assumed = {"tap": None, "after_relu": True, "mean": VGG.mean, "std": VGG.std}
    return read, assumed
