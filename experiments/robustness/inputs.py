"""What the commands are given: sound images and weights, damage, and values that are all wrong."""

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from sr_jax import weights
from sr_jax.imaging.files import write_image
from sr_jax.models import create_model, variable_shapes

SIZE = 24

WRONG_VALUES: dict[str, Sequence[str]] = {
    "seed": ("-1", "4294967296", "x"),
    "init_from": ("/no/such/file", "/dev/null"),
    "data.source": ("web", ""),
    "data.path": ("/no/such/folder", "/dev/null"),
    "data.scales": ("()", "(1,)", "(2,2)", "(0,)", "(99,)", "(3,)", "('a',)"),
    "data.lr_patch_size": ("0", "-5", "100000", "1.5"),
    "data.batch_size": ("0", "-16", "x"),
    "data.placement": ("disk",),
    "data.threads": ("0", "-1", "100000"),
    "data.cache_megabytes": ("-1",),
    "train.steps": ("0", "-1", "99999999999", "many"),
    "train.log_every": ("0", "-1"),
    "train.eval_every": ("0", "-1"),
    "train.eval_images": ("0", "-3"),
    "train.checkpoint_every": ("0", "-1"),
    "train.keep_checkpoints": ("0", "-1"),
    "train.keep_checkpoints_every": ("-1",),
    "train.accumulate": ("-1", "3", "17"),
    "train.dtype": ("float16", "int8", "float64"),
    "train.ema": ("1.0", "-0.1", "nan", "2"),
    "train.no_such_field": ("1",),
    "optimizer.name": ("lion", ""),
    "optimizer.learning_rate": ("0", "-1e-4", "nan", "inf"),
    "optimizer.decay_factor": ("0", "-1", "2", "nan"),
    "optimizer.decay_every": ("-1",),
    "optimizer.decay_at": ("(0,)", "(-1,)", "(1.5,)"),
    "optimizer.warmup": ("-1", "0.5"),
    "optimizer.cosine": ("-1", "x"),
    "optimizer.b1": ("1", "-0.1", "nan"),
    "optimizer.b2": ("1", "1.5"),
    "optimizer.eps": ("0", "-1e-8", "nan"),
    "optimizer.momentum": ("1", "-1"),
    "optimizer.weight_decay": ("-1", "nan"),
    "optimizer.clip": ("gradient", "norm", "value"),
    "optimizer.clip_bound": ("-1", "1", "nan"),
    "loss.name": ("l3", "vgg22x", ""),
    "loss.scale": ("0", "-255", "nan"),
    "loss.vgg": ("vgg.safetensors",),
    "adversarial.weight": ("-1", "nan"),
    "adversarial.n_feats": ("0", "32"),
    "model.name": ("esrgan", "os", "os:system", "os.path:join", ""),
    "model.scale": ("0", "1", "-2", "2.5", "3"),
    "model.n_resblocks": ("0", "-1", "100000000", "x"),
    "model.n_feats": ("0", "-1", "1000000000"),
    "model.n_colors": ("0", "2", "1000000"),
    "model.res_scale": ("nan", "inf", "-1"),
    "model.rgb_range": ("0", "-1", "nan"),
    "model.depth": ("3",),
}


def alter(content: bytes, rng: random.Random) -> bytes:
    """One of seven kinds of damage, at a random place; half of them near the beginning."""
    data = bytearray(content)
    near = len(data) if rng.random() < 0.5 else min(len(data), 200)
    place = rng.randrange(near)
    length = min(rng.choice((1, 4, 64)), len(data) - place)
    kind = rng.randrange(7)
    if kind == 0:
        del data[place:]
    elif kind == 1:
        data[place : place + length] = rng.randbytes(length)
    elif kind == 2:
        data[place : place + length] = bytes(length)
    elif kind == 3:
        data[place : place + length] = b"\xff" * length
    elif kind == 4:
        del data[place : place + length]
    elif kind == 5:
        data[place:place] = rng.randbytes(length)
    else:
        data[place] ^= 1 << rng.randrange(8)
    return bytes(data)


def pictures(folder: Path) -> dict[str, bytes]:
    """A sound image of every kind: name -> content."""
    draw = np.random.default_rng(0).integers
    ramp = np.add.outer(np.arange(SIZE), 5 * np.arange(SIZE)).astype(np.uint8)
    rgb = np.stack([ramp, ramp.T, 255 - ramp], -1)
    deep = draw(0, 2**16, (SIZE, SIZE, 3), np.uint16)
    arrays = {
        "rgb.png": rgb,
        "grey.png": ramp,
        "rgba.png": np.dstack([rgb, ramp]),
        "deep.png": deep,
        "rgb.tif": rgb,
        "deep.tif": deep,
        "rgb.jpg": rgb,
        "rgba.webp": np.dstack([rgb, ramp]),
        "rgb.avif": rgb,
        "grey.bmp": ramp,
    }
    for name, image in arrays.items():
        write_image(folder / name, image)
    Image.fromarray(rgb).save(folder / "rgb.gif")
    Image.fromarray(rgb).save(folder / "rgb.jp2")
    Image.fromarray(rgb).convert("CMYK").save(folder / "cmyk.jpg")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def write_model(path: Path, **fields: Any) -> None:
    """A weights file of a small network."""
    model = create_model("edsr_baseline", n_resblocks=1, n_feats=4, **fields)
    rng = np.random.default_rng(0)
    variables = variable_shapes(model)
    weights.save(
        path, model, jax.tree.map(lambda s: rng.normal(0, 0.05, s.shape).astype(s.dtype), variables)
    )


class Bomb:
    """What would leave a trace, were it unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.trace}",)
