"""How images are scored: the two protocols of the papers, and means over a data set."""

import dataclasses
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from sr_jax.data.degradation import downscale
from sr_jax.data.sources import ImagePair
from sr_jax.imaging.color import rgb_to_luma, rgb_to_ycbcr, ycbcr_to_rgb
from sr_jax.imaging.files import from_float, to_float
from sr_jax.imaging.metrics import psnr, score_luma, shave, ssim
from sr_jax.imaging.resize import imresize
from sr_jax.inference.settings import Settings
from sr_jax.inference.upscaler import run_network, tiled_if_needed, upscale_rgb
from sr_jax.models import ARCHITECTURES, create_model, describe_model
from sr_jax.models.network import Network

Loaded = tuple[Network, Any]  # a model and its variables
Datasets = Mapping[str, Sequence[ImagePair]]  # name -> images


class Score(NamedTuple):
    """The score of one image: PSNR in dB, SSIM, and LPIPS where it was asked for.

    The PSNR of equal images, say of a blank one, is infinite.
    """

    dataset: str
    scale: int
    method: str
    image: str
    psnr: float
    ssim: float
    lpips: float | None = None
    dists: float | None = None


class Key(NamedTuple):
    """Which image is scored by which method."""

    dataset: str
    scale: int
    method: str
    image: str


Result = tuple[Score, np.ndarray] | str


class Contender(NamedTuple):
    """What is scored.

    Attributes:
        method: its name in the rows.
        network: (model, variables), or None for bicubic interpolation.
        settings: how images go through the network.
        known_as: the name under which its figures are published, None if they are not.
    """

    method: str
    network: Loaded | None = None
    settings: Settings = Settings()
    known_as: str | None = None


BICUBIC = Contender("bicubic", known_as="bicubic")

# The fields that make a network the one whose figures its paper gives.
_SIZES = ("n_feats", "n_resblocks", "n_resgroups", "depth", "kernel_sizes", "reduction")


def list_contenders(
    network: Loaded,
    settings: Settings = Settings(),
    *,
    name: str | None = None,
    ensemble: bool = False,
) -> list[Contender]:
    """Bicubic interpolation, a network and, with `ensemble`, its self-ensemble.

    Args:
        network: (model, variables).
        settings: how images go through the network.
        name: what the rows and the published tables call the network; None is its architecture,
            and published figures count only if it has the size that the paper's has.
        ensemble: whether to add NAME+, the mean over the eight symmetries.

    Raises:
        ValueError: a name that cannot be a file's or is bicubic's.
    """

    known_as = name
    if name is None:
        name, fields = describe_model(network[0])
        usual = create_model(name if name in ARCHITECTURES else type(network[0])).hyperparameters
        if all(fields[size] == usual[size] for size in _SIZES if size in fields):
            known_as = name
        name = name.rpartition(":")[2].lower() if ":" in name else name  # of one outside sr_jax
    elif "/" in name or name.strip() in ("", ".", "..", BICUBIC.method):
        raise ValueError(
            f"name is {name!r}, expected one that a folder can have and that is not 'bicubic'"
        )
    contenders = [BICUBIC, Contender(name, network, settings, known_as)]
    if ensemble:
        eightfold = dataclasses.replace(settings, ensemble=True)
        known_as = known_as and f"{known_as}+"
        contenders.append(Contender(f"{name}+", network, eightfold, known_as))
    return contenders


def score_all(
    datasets: Datasets,
    scales: Sequence[int],
    contenders: Sequence[Contender],
    *,
    round_luma: bool = False,
    done: Collection[Key] = (),
) -> Iterator[tuple[Key, ImagePair, Result]]:
    """Scores image after image of whole data sets.

    Args:
        datasets: the images.
        scales: the factors.
        contenders: what is scored.
        round_luma: see `score_image`.
        done: what is not scored, as it has been.

    Yields:
        What was scored, the image, and the score with the upscaled image, uint8 RGB; or what went
        wrong with this image, in one line.
    """
    for dataset, pairs in datasets.items():
        for scale in scales:
            for method, network, settings, _ in contenders:
                for pair in pairs:
                    key = Key(dataset, scale, method, pair.name)
                    if key in done:
                        continue
                    try:
                        *values, image = score_image(
                            pair, scale, network, round_luma=round_luma, settings=settings
                        )
                        yield key, pair, (Score(*key, *values), image)
                    except (ValueError, OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
                        yield key, pair, " ".join(str(error).split()) or type(error).__name__


def score_image(
    pair: ImagePair,
    scale: int,
    network: Loaded | None,
    *,
    round_luma: bool = False,
    settings: Settings = Settings(),
) -> tuple[float, float, np.ndarray]:
    """Upscales the low-resolution image of a pair and compares with the high-resolution one.

    The protocol of the tables of EDSR and later papers: the input is the 8-bit RGB image, the
    output is rounded to 8 bits and compared on the BT.601 luma, without `scale` pixels at each
    border. A network that predicts luma alone is compared on what it predicts, clipped but not
    rounded.

    With `round_luma` the luma is rounded to integers before it is compared, as EDSR's paper does;
    and bicubic interpolation and luma networks are scored as the papers of SRCNN and VDSR do, who
    see nothing but luma. The luma of the original, rounded to 8 bits, is then reduced and
    interpolated in double precision, goes through the network and is rounded again. The
    low-resolution images that a data set brings are not used, and of a grey file the grey itself
    is the luma, as in the authors' MATLAB code.

    Args:
        pair: the image.
        scale: the factor.
        network: (model, variables), or None for bicubic interpolation.
        round_luma: see above.
        settings: how the image goes through the network.

    Returns:
        PSNR in dB, SSIM, and the upscaled image, uint8 RGB (scale * h, scale * w, 3).
    """
    if round_luma and (network is None or network[0].n_colors == 1):
        return _score_luma(pair, scale, network, settings)

    lr, hr = pair.pair(scale)
    if network is None:
        image = imresize(lr, scale)
    else:
        settings = _settings(pair.name, network, lr, scale, settings)
        colour = upscale_rgb(*network, to_float(lr), scale, settings)
        image = from_float(colour)
        if network[0].n_colors == 1:
            luma, reference = rgb_to_luma(colour), rgb_to_luma(to_float(hr))
            return *_compare(luma, reference, scale, round_luma=False), image
    return *score_luma(image, hr, border=scale, round_luma=round_luma), image


def _settings(
    name: str, network: Loaded, lr: np.ndarray, scale: int, settings: Settings
) -> Settings:
    """Tiles for an image that is too large for the memory, which the log tells."""
    fitting = tiled_if_needed(*network, lr.shape[0], lr.shape[1], scale, settings)
    if fitting != settings:
        exact = network[0].receptive_radius is not None
        if exact:
            fitting = dataclasses.replace(fitting, overlap="exact")
        logging.warning(
            "%s is too large to be scored in one piece and is scored in tiles, %s",
            name,
            "which changes nothing" if exact else "which changes the score a little",
        )
    return fitting


def _score_luma(
    pair: ImagePair, scale: int, network: Loaded | None, settings: Settings
) -> tuple[float, float, np.ndarray]:
    """Scores as the papers of SRCNN and VDSR do; the chroma of the image is interpolated."""
    hr = to_float(pair.hr(scale), np.float64)
    grey = pair.is_grey()
    luma = hr[..., :1] if grey else np.floor(rgb_to_luma(hr) * 255 + 0.5) / 255
    low = downscale(luma, scale)
    if network is None:
        predicted = imresize(low, size=luma.shape[:2])
    else:
        settings = _settings(pair.name, network, low, scale, settings)
        predicted = run_network(*network, low, scale, settings)
    if grey:
        colour = np.repeat(predicted, 3, axis=-1)
    else:
        chroma = imresize(downscale(rgb_to_ycbcr(hr)[..., 1:], scale), size=luma.shape[:2])
        colour = ycbcr_to_rgb(np.concatenate([predicted, chroma], axis=-1))
    return *_compare(predicted, luma, scale, round_luma=True), from_float(colour)


def _compare(
    predicted: np.ndarray, luma: np.ndarray, border: int, round_luma: bool
) -> tuple[float, float]:
    """PSNR and SSIM of two lumas (H, W, 1) in [0, 1]."""
    pair = []
    for image in (predicted, luma):
        values = np.asarray(image, np.float64)[..., 0].clip(0, 1) * 255
        pair.append(shave(np.floor(values + 0.5) if round_luma else values, border))
    return psnr(*pair), ssim(*pair)


def group_scores(scores: Iterable[Score]) -> dict[tuple[str, int, str], list[Score]]:
    """The scores of each (dataset, scale, method), in the order in which those appear."""
    groups: dict[tuple[str, int, str], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.dataset, score.scale, score.method), []).append(score)
    return groups


def mean_scores(scores: Iterable[Score]) -> list[dict[str, Any]]:
    """The rows of scores.json: the mean over the images of each data set, scale and method.

    Images of infinite PSNR are left out; `images` says over how many the means are. Where none is
    left PSNR is None.
    """
    rows = []
    for (dataset, scale, method), group in group_scores(scores).items():
        finite = [score for score in group if math.isfinite(score.psnr)]
        counted = finite or group
        rows.append(
            {
                "dataset": dataset,
                "scale": scale,
                "method": method,
                "psnr": sum(score.psnr for score in finite) / len(finite) if finite else None,
                "ssim": sum(score.ssim for score in counted) / len(counted),
                "images": len(counted),
            }
        )
    return rows


def mean_distance(scores: Sequence[Score], name: str) -> float | None:
    """The mean of 'lpips' or 'dists', or None if it was not measured on all."""
    measured = [getattr(score, name) for score in scores]
    distances = [value for value in measured if value is not None]
    return sum(distances) / len(distances) if len(distances) == len(scores) else None
