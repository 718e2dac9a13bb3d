"""Scores of a network on folders of images: PSNR and SSIM of the luma, with bicubic beside it.

Run as `sr-jax evaluate` or `python -m sr_jax.evaluate`.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from sr_jax.console import run

if TYPE_CHECKING:
    import flax.linen as nn
    import numpy as np

    from sr_jax.data.sources import ImagePair

# Commands answer `--help` at once: whatever takes long to import is imported where it is used.

Network = tuple["nn.Module", Any]  # a model and its variables


class Score(NamedTuple):
    """The score of one image."""

    dataset: str
    scale: int
    method: str
    image: str
    psnr: float
    ssim: float


def score_image(
    pair: "ImagePair", scale: int, network: Network | None, *, round_luma: bool = False
) -> tuple[float, float, "np.ndarray"]:
    """Upscales the low-resolution image of a pair and compares with the high-resolution one.

    The protocol of the tables of EDSR and later papers: the input is the 8-bit RGB image, the
    output is rounded to 8 bits and compared on the BT.601 luma, without `scale` pixels at each
    border. A network that predicts luma alone is compared on what it predicts, clipped but not
    rounded.

    Args:
        pair: the image.
        scale: the factor.
        network: (model, variables), or None for bicubic interpolation.
        round_luma: whether the luma is rounded to integers first, as EDSR's paper does.

    Returns:
        PSNR in dB, SSIM, and the upscaled image, uint8 RGB (scale * h, scale * w, 3).
    """
    from sr_jax.imaging.color import rgb_to_luma
    from sr_jax.imaging.files import from_float, to_float
    from sr_jax.imaging.metrics import score_luma
    from sr_jax.imaging.resize import imresize
    from sr_jax.inference.upscaler import upscale_rgb

    lr, hr = pair.pair(scale)
    if network is None:
        image = imresize(lr, scale)
    else:
        colour = upscale_rgb(*network, to_float(lr), scale)
        image = from_float(colour)
        if network[0].n_colors == 1:
            psnr, ssim = _compare(rgb_to_luma(colour), rgb_to_luma(to_float(hr)), scale, round_luma)
            return psnr, ssim, image
    return *score_luma(image, hr, border=scale, round_luma=round_luma), image


def score_luma_image(pair: "ImagePair", scale: int, network: Network | None) -> tuple[float, float]:
    """Scores as the papers of SRCNN and VDSR do, who see nothing but luma.

    The luma of the original, rounded to 8 bits, is reduced and interpolated in double precision,
    goes through the network and is rounded again. The low-resolution images that a data set brings
    are not used, and of a grey file the grey itself is the luma, as in the authors' MATLAB code.

    Args:
        pair: the image.
        scale: the factor.
        network: (model, variables) with one colour channel, or None for bicubic interpolation.

    Returns:
        PSNR in dB and SSIM.
    """
    import numpy as np

    from sr_jax.data.degradation import downscale
    from sr_jax.imaging.color import rgb_to_luma
    from sr_jax.imaging.files import to_float
    from sr_jax.imaging.resize import imresize
    from sr_jax.inference.upscaler import run_network

    luma = to_float(pair.hr(scale), np.float64)
    luma = luma[..., :1] if pair.is_grey() else np.floor(rgb_to_luma(luma) * 255 + 0.5) / 255
    low = downscale(luma, scale)
    if network is None:
        predicted = imresize(low, size=luma.shape[:2])
    else:
        predicted = run_network(*network, low, scale)
    return _compare(predicted, luma, scale, round_luma=True)


def _compare(
    predicted: "np.ndarray", luma: "np.ndarray", border: int, round_luma: bool
) -> tuple[float, float]:
    """PSNR and SSIM of two lumas (H, W, 1) in [0, 1]."""
    import numpy as np

    from sr_jax.imaging.metrics import psnr, shave, ssim

    pair = []
    for image in (predicted, luma):
        values = np.asarray(image, np.float64)[..., 0].clip(0, 1) * 255
        pair.append(shave(np.floor(values + 0.5) if round_luma else values, border))
    return psnr(*pair), ssim(*pair)


def score_images(
    dataset: str,
    pairs: Sequence["ImagePair"],
    scale: int,
    method: str,
    network: Network | None,
    *,
    round_luma: bool = False,
) -> Iterator[Score]:
    """Scores image after image; `method` names what is scored.

    With `round_luma`, bicubic interpolation and networks of one colour channel are scored by
    `score_luma_image`, all others by `score_image`.
    """
    for pair in pairs:
        if round_luma and (network is None or network[0].n_colors == 1):
            psnr, ssim = score_luma_image(pair, scale, network)
        else:
            psnr, ssim, _ = score_image(pair, scale, network, round_luma=round_luma)
        yield Score(dataset, scale, method, pair.name, psnr, ssim)


def mean_scores(scores: Iterable[Score]) -> list[dict[str, Any]]:
    """The rows of scores.json: the mean over the images of each data set, scale and method."""
    groups: dict[tuple[str, int, str], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.dataset, score.scale, score.method), []).append(score)
    return [
        {
            "dataset": dataset,
            "scale": scale,
            "method": method,
            "psnr": sum(score.psnr for score in group) / len(group),
            "ssim": sum(score.ssim for score in group) / len(group),
            "images": len(group),
        }
        for (dataset, scale, method), group in groups.items()
    ]


def write_scores(path: Path, scores: Sequence[Score]) -> None:
    """Writes the means to `path` (JSON), the images' scores beside it (.images.json and .csv)."""
    from sr_jax.imaging.files import write_bytes

    rows = [score._asdict() for score in scores]
    table = io.StringIO()
    writer = csv.DictWriter(table, Score._fields)
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path.with_suffix(".images.json"), json.dumps(rows, indent=2).encode())
    write_bytes(path.with_suffix(".csv"), table.getvalue().encode())
    write_bytes(path, json.dumps(mean_scores(scores), indent=2).encode())


def print_scores(scores: Sequence[Score]) -> None:
    """Prints a table of every image and of the means."""
    import rich.table

    table = rich.table.Table("dataset", "scale", "image", "method", "PSNR (dB)", "SSIM")
    for score in sorted(scores, key=lambda s: (s.dataset, s.scale, s.image)):
        table.add_row(*_cells(score.dataset, score.scale, score.image, score))
    table.add_section()
    for row in mean_scores(scores):
        mean = Score(row["dataset"], row["scale"], row["method"], "", row["psnr"], row["ssim"])
        table.add_row(*_cells(row["dataset"], row["scale"], f"mean of {row['images']}", mean))
    rich.get_console().print(table)


def _cells(dataset: str, scale: int, image: str, score: Score) -> Iterator[str]:
    yield from (dataset, f"x{scale}", image, score.method)
    yield from (f"{score.psnr:.2f}", f"{score.ssim:.4f}")


def score_all(
    datasets: Mapping[str, Sequence["ImagePair"]],
    scales: Sequence[int],
    method: str,
    network: Network | None,
    *,
    round_luma: bool = False,
) -> list[Score]:
    """Scores bicubic, and a network where there is one, on whole data sets, with a progress bar."""
    from rich.progress import Progress

    contenders: list[tuple[str, Network | None]] = [("bicubic", None)]
    if network is not None:
        contenders.append((method, network))
    scores = []
    with Progress(transient=True) as progress:
        images = sum(len(pairs) for pairs in datasets.values())
        task = progress.add_task("scoring", total=images * len(scales) * len(contenders))
        for name, pairs in datasets.items():
            for scale in scales:
                for label, contender in contenders:
                    for score in score_images(
                        name, pairs, scale, label, contender, round_luma=round_luma
                    ):
                        scores.append(score)
                        progress.advance(task)
    return scores


def compare(path: Path, pairs: Sequence["ImagePair"], scale: int, network: Network) -> None:
    """Draws bicubic interpolation, a network and the original of some images side by side."""
    from sr_jax.inference.comparison import Comparison, write_comparison
    from sr_jax.models import describe_model

    name, _ = describe_model(network[0])
    rows = []
    for pair in pairs:
        panels = {}
        for label, contender in (("bicubic", None), (name, network)):
            psnr, _, image = score_image(pair, scale, contender)
            panels[f"{label}, {psnr:.2f} dB"] = image
        rows.append(Comparison(f"{pair.name}, x{scale}", {**panels, "original": pair.hr(scale)}))
    write_comparison(path, rows)


def evaluate(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Folders of HR images, or with HR/ and perhaps LR_bicubic/X<scale>/."),
    ],
    model: Annotated[
        str, typer.Option(help="A weights file, a training workdir, or 'bicubic' alone.")
    ],
    output: Annotated[
        Path, typer.Option(help="JSON of mean scores; .images.json and .csv go beside it.")
    ],
    scale: Annotated[
        list[int] | None, typer.Option(help="The factor; may be repeated. Default: the network's.")
    ] = None,
    round_luma: Annotated[
        bool, typer.Option(help="Round the luma to 8 bits, as the tables of SRCNN, VDSR, EDSR do.")
    ] = False,
) -> None:
    """Scores a network against bicubic: PSNR and SSIM of the luma, per image and on average."""
    from sr_jax import weights
    from sr_jax.data.sources import list_folder
    from sr_jax.inference.upscaler import network_scale
    from sr_jax.models import describe_model, network_scales

    network, method = None, "bicubic"
    if model != "bicubic":
        network = weights.load(weights.find(model))
        method = describe_model(network[0])[0]
        asked = scale or network_scales(network[0]) or (None,)
        scale = [network_scale(network[0], factor) for factor in asked]
    if not scale:
        raise ValueError("--model bicubic has no scale of its own: give --scale")
    datasets = {folder.resolve().name: list_folder(folder, scale) for folder in folders}
    if len(datasets) < len(folders):
        raise ValueError("two of the folders have the same name, which names the rows: rename one")
    scores = score_all(datasets, scale, method, network, round_luma=round_luma)
    write_scores(output, scores)
    print_scores(scores)


if __name__ == "__main__":
    run(lambda: typer.run(evaluate))
