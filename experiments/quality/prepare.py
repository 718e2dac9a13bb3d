"""What trainings are made of: folders of images, and the networks that they start from."""

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.quality import modern
from sr_jax import weights
from sr_jax.data.sources import load
from sr_jax.imaging.files import write_image
from sr_jax.imaging.resize import imresize
from sr_jax.models import create_model, variable_shapes
from sr_jax.models.network import Network


class Cut(NamedTuple):
    """Squares of images where there is most to learn.

    Attributes:
        sources: folders of images; those of the first that validate stay as they are.
        side: of the squares, in pixels. Of the photographs it is twice the largest patch at x2.
        factors: by which the images are reduced before they are cut.
        share: of the squares that is kept.
        crops: whether the middle square of each image validates, as a network takes long on whole
            ones.
    """

    sources: tuple[str, ...]
    side: int
    factors: tuple[float, ...] = (1.0,)
    share: float = 0.5
    crops: bool = False


SCALES = (1.0, 0.75, 0.5)
TEXTURED = {
    modern.TEXTURED_PHOTOS: Cut((modern.PHOTOS,), 192),
    modern.TEXTURED_SCALES: Cut((modern.PHOTOS,), 192, SCALES),
    modern.TEXTURED_CROPS: Cut((modern.PHOTOS,), 192, SCALES, crops=True),
    modern.TEXTURED_290: Cut((modern.T91, modern.BSDS199), 128, SCALES),
}


def prepare(config: ConfigDict) -> None:
    """Makes what a recipe names below runs/quality."""
    if modern.BSDS199 in config.data.path or modern.TEXTURED_290 in config.data.path:
        link_images()
    for folder, cut in TEXTURED.items():
        if folder == config.data.path:
            cut_textured(Path(folder), cut)
    if config.init_from in map(modern.START.format, ("srcnn_915", "srcnn_955", "srresnet")):
        write_start(config.init_from, create_model(**config.model))


def link_images() -> None:
    """Makes BSDS199 of the BSDS200 in ../shared: links to all images but one."""
    folder, source = Path(modern.BSDS199), Path(modern.TRAIN) / "BSDS200"
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.glob("*.*"):
        link = folder / path.name
        if path.stem != "302003" and not link.exists():
            link.symlink_to(path.resolve())


def cut_textured(folder: Path, cut: Cut) -> None:
    """Cuts images into squares and keeps those that bicubic interpolation blurs most.

    Args:
        folder: is made, unless it is there.
        cut: what is cut, and how.
    """
    if folder.exists():
        return
    side = cut.side
    squares: list[tuple[float, str, np.ndarray]] = []
    made = folder.with_name(f"{folder.name}.new")
    for source, factor in itertools.product(cut.sources, cut.factors):
        for pair in load("folder", "train", path=source):
            image = pair.hr() if factor == 1 else imresize(pair.hr(), factor)
            for top in range(0, image.shape[0] - side + 1, side):
                for left in range(0, image.shape[1] - side + 1, side):
                    square = image[top : top + side, left : left + side]
                    blurred = imresize(imresize(square, 1 / 2), size=square.shape[:2])
                    error = float(np.abs(blurred.astype(np.float32) - square).mean())
                    squares.append((error, f"{pair.name}_{factor:g}_{top}_{left}.png", square))
    for pair in load("folder", "validation", path=cut.sources[0]):
        image = pair.hr()
        if cut.crops:
            top, left = (max(0, size - side) // 2 for size in image.shape[:2])
            image = image[top : top + side, left : left + side]
        write_image(made / "validation" / f"{pair.name}.png", image)
    squares.sort(key=lambda square: -square[0])
    for _, name, square in squares[: round(cut.share * len(squares))]:
        write_image(made / "train" / name, square)
    made.rename(folder)


def write_start(path: str, model: Network) -> None:
    """Writes a network that hands its input on, in place of the papers' starts.

    The first channels of a layer hand the colours on, except in residual branches: SRCNN is the
    identity and SRResNet repeats pixels. The other channels are drawn as He et al. do (ICCV
    2015). SRResNet's residual branches are multiplied by 0 (Goyal et al., arXiv 1706.02677,
    section 5.1): they end in `norm_1` and `body_norm`.

    SRCNN has no skip connection: from the paper's start near zero it must learn first to be the
    identity. x3 was at 30.30 dB of the validation images after 20,000 updates, and at 30.42 dB
    after 2,000 from here. SRResNet, x4, was at 25.42 dB after 7,000 updates from its usual start.
    """
    random = np.random.default_rng(0)
    colors = model.n_colors

    def draw(keys: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        *layers, kind = (key.key for key in keys)
        if kind != "kernel":
            value = {"slope": 0.25, "var": 1.0, "scale": float(layers[-1] == "norm_0")}.get(kind, 0)
            return np.full(leaf.shape, value, leaf.dtype)
        height, width, inputs, outputs = leaf.shape[-4:]
        kernel = random.normal(size=leaf.shape) * (2 / (height * width * inputs)) ** 0.5
        if "body" not in layers and "body_conv" not in layers:
            # Of a channel the upsampler makes so many, one after the other: see `pixel_shuffle`.
            cells = outputs // model.n_feats if "upsampler" in layers else 1
            kernel[..., : colors * cells] = 0
            for output in range(colors * cells):
                kernel[height // 2, width // 2, output // cells, output] = 1
        return kernel.astype(leaf.dtype)

    variables = jax.tree_util.tree_map_with_path(draw, dict(variable_shapes(model)))
    weights.save(path, model, variables)
