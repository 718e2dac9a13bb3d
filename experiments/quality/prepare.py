"""What trainings are made of: folders of images, and the network that SRCNN starts from."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.quality import modern
from sr_jax import weights
from sr_jax.data.sources import load
from sr_jax.imaging.files import write_image
from sr_jax.imaging.resize import imresize
from sr_jax.models import create_model, variable_shapes

SIDE = 192  # of a crop, twice that of the largest patch at x2


def prepare(config: ConfigDict) -> None:
    """Makes what a recipe names below runs/quality."""
    if modern.BSDS199 in config.data.path:
        link_images()
    if modern.TEXTURED in config.data.path:
        cut_textured()
    for kernels in ("915", "955"):
        if config.init_from == modern.START.format(kernels):
            write_start(kernels)


def link_images() -> None:
    """Makes BSDS199 of the BSDS200 in ../shared: links to all images but one."""
    folder, source = Path(modern.BSDS199), Path(modern.TRAIN) / "BSDS200"
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.glob("*.*"):
        link = folder / path.name
        if path.stem != "302003" and not link.exists():
            link.symlink_to(path.resolve())


def cut_textured(share: float = 0.5) -> None:
    """Cuts the photographs into squares and keeps those that bicubic interpolation blurs most.

    The photographs that validate stay as they are.

    Args:
        share: of the squares.
    """
    folder = Path(modern.TEXTURED)
    if folder.exists():
        return
    squares: list[tuple[float, str, np.ndarray]] = []
    for pair in load("folder", "train", path=modern.PHOTOS):
        image = pair.hr()
        for top in range(0, image.shape[0] - SIDE + 1, SIDE):
            for left in range(0, image.shape[1] - SIDE + 1, SIDE):
                square = image[top : top + SIDE, left : left + SIDE]
                blurred = imresize(imresize(square, 1 / 2), size=square.shape[:2])
                error = float(np.abs(blurred.astype(np.float32) - square).mean())
                squares.append((error, f"{pair.name}_{top}_{left}.png", square))
    squares.sort(key=lambda square: -square[0])
    made = folder.with_name("textured.new")
    for _, name, square in squares[: round(share * len(squares))]:
        write_image(made / "train" / name, square)
    for pair in load("folder", "validation", path=modern.PHOTOS):
        write_image(made / "validation" / f"{pair.name}.png", pair.hr())
    made.rename(folder)


def write_start(kernels: str) -> None:
    """Writes an SRCNN that gives back its input, in place of the paper's start near zero.

    SRCNN has no skip connection. From the paper's start it must learn first to be the identity:
    x3 was at 30.30 dB of the validation images after 20,000 updates, and at 30.42 dB after 2,000
    from here. One channel of each layer hands the image on. The others are drawn as He et al. do
    (ICCV 2015), and the last layer takes nothing of them.
    """
    model = create_model(f"srcnn_{kernels}", padding="replicate", scale=3)
    random = np.random.default_rng(0)

    def draw(path: tuple[Any, ...], leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if path[-1].key == "bias":
            return np.zeros(leaf.shape, leaf.dtype)
        height, width, channels, _ = leaf.shape
        kernel = random.normal(size=leaf.shape) * (2 / (height * width * channels)) ** 0.5
        kernel[..., 0] = 0
        kernel[height // 2, width // 2, 0, 0] = 1
        return kernel.astype(leaf.dtype)

    variables = jax.tree_util.tree_map_with_path(draw, dict(variable_shapes(model)))
    weights.save(modern.START.format(kernels), model, variables)
