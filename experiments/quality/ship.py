"""A trained network becomes one that ships: python -m experiments.quality.ship NAME

What recipes/NAME.py has trained goes to sr_jax/pretrained in float16, with its card. Networks that
learnt from T91 and BSDS200, which have no licence, go to experiments/quality/weights: these show
that papers are reached, and do not ship. A score that float16 moves by more than 0.005 dB is an
error.
"""

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from experiments.quality import modern, prepare
from experiments.quality.part import FOLDER, list_recipes, load_config
from sr_jax import pretrained, weights
from sr_jax.data.sources import ImagePair
from sr_jax.data.sources.layouts import find_layout
from sr_jax.evaluation.published import published
from sr_jax.evaluation.scoring import BICUBIC, Loaded, list_contenders, score_all
from sr_jax.inference.settings import Settings
from sr_jax.models import count_parameters, describe_model
from sr_jax.storage import write_bytes

BENCHMARKS = ("Set5", "Set14", "B100")
JPEG = " JPEG 75"  # after a benchmark's name
PAPERS = {"edsr": "edsr_baseline"}  # architecture -> the published one that it stands beside
# Data sets with licences that let their networks ship.
FREE = {modern.PHOTOS, modern.TEXTURED_PHOTOS, modern.TEXTURED_SCALES, modern.TEXTURED_CROPS}
AGAIN = "_again"  # of a recipe that goes on with the network of that name, and takes its place
MOST = 0.005  # dB that float16 may cost
LIMITS = {
    "bicubic": "Made for clean images that were reduced by bicubic interpolation. It sharpens "
    "noise and the blocks of JPEG, too.",
    "photo": "Made for slightly blurred and noisy images in JPEG, quality 30 to 95. It smooths "
    "fine texture; of clean images, networks that are made for those show more.",
}
TILES = " It was scored in tiles of {0} pixels (--tile {0}): whole images take long."
INVENTS = " It invents texture that looks real, which costs PSNR."


def compress(pair: ImagePair, scale: int) -> ImagePair:
    """The pair, with a low-resolution image that was a JPEG file of quality 75."""

    def read() -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(pair.lr(scale)).save(file, "JPEG", quality=75)
        return np.asarray(Image.open(file))

    return dataclasses.replace(pair, read_lr={scale: read})


def score(
    networks: list[Loaded],
    datasets: Sequence[str],
    scales: Sequence[int],
    benchmarks: Path,
    settings: Settings,
) -> list[list[Any]]:
    """Rows (data set, scale, PSNR of bicubic, then PSNR and SSIM of each network)."""
    rows = []
    for dataset in datasets:
        for scale in scales:
            pairs = find_layout(benchmarks / dataset.split()[0], [scale]).pairs
            if dataset.endswith(JPEG):
                pairs = tuple(compress(pair, scale) for pair in pairs)
            contenders = [BICUBIC]
            for number, network in enumerate(networks):
                contenders += list_contenders(network, settings, name=str(number))[1:]
            found: dict[str, list[tuple[float, float]]] = {}
            luma = networks[0][0].n_colors == 1
            for key, _, result in score_all({dataset: pairs}, [scale], contenders, round_luma=luma):
                if isinstance(result, str):
                    raise ValueError(result)
                found.setdefault(key.method, []).append((result[0].psnr, result[0].ssim))
            means = [np.mean(values, axis=0).tolist() for values in found.values()]
            rows.append([dataset, scale, means[0][0], *means[1:]])
    return rows


def main(
    name: Annotated[str, typer.Argument(help="Of a file in recipes/.")],
    workdir: Annotated[Path | None, typer.Option(help="Default: runs/quality/NAME.")] = None,
    tile: Annotated[
        int | None, typer.Option(help="Scored in tiles of so many pixels, which the card says.")
    ] = None,
    benchmarks: Annotated[Path, typer.Option(help="Folder of Set5, Set14 and B100.")] = Path(
        "../shared/data/benchmarks"
    ),
) -> None:
    """Writes weights and card of the best network of a training, or the last one of a GAN."""
    config = load_config(name)
    workdir = workdir or Path("runs/quality") / name
    # The PSNR of a validation says which step is best, but not of a network that invents texture.
    invents = config.adversarial.weight > 0
    trained = "weights.safetensors" if invents else "weights-best.safetensors"
    model, variables = weights.load(workdir / trained)
    free = config.data.path in FREE
    folder = pretrained.FOLDER if free else FOLDER / "weights"
    place = folder / f"{name.removesuffix(AGAIN)}.safetensors"
    kept = workdir / "weights-float16.safetensors"
    weights.save(kept, model, variables, half=True)
    scales = tuple(config.data.scales)
    datasets = [*BENCHMARKS]
    if config.data.degradation == "photo":
        datasets += [f"{dataset}{JPEG}" for dataset in BENCHMARKS]
    networks, settings = [(model, variables), weights.load(kept)], Settings(tile=tile)
    rows = score(networks, datasets, scales, benchmarks, settings)
    architecture = describe_model(model)[0]
    scores = []
    for dataset, scale, bicubic, (before, _), (psnr, ssim) in rows:
        print(f"{dataset} x{scale}: {psnr:.3f} dB, float32 {before:.3f}, bicubic {bicubic:.3f}")
        if abs(before - psnr) > MOST:
            raise ValueError(f"float16 moves {dataset} x{scale} by {psnr - before:.4f} dB")
        paper = published(PAPERS.get(architecture, architecture), dataset, scale)
        found = {"psnr": psnr, "ssim": ssim, "bicubic": bicubic}
        entry = {"dataset": dataset, "scale": scale} | {k: round(v, 4) for k, v in found.items()}
        scores.append(entry | {"paper": paper.psnr if paper else None})
    card = {
        "kind": config.data.degradation,
        "architecture": architecture,
        "parameters": count_parameters(variables),
        "scales": scales,
        **describe_training(name),
        "scores": scores,
        "limits": LIMITS[config.data.degradation]
        + (INVENTS if invents else "")
        + (TILES.format(tile) if tile else ""),
    }
    write_bytes(place, kept.read_bytes())
    write_bytes(place.with_suffix(".json"), f"{json.dumps(card, indent=1)}\n".encode())
    print(f"{place}: {place.stat().st_size:,} bytes")


def find_trainings(name: str) -> list[str]:
    """The recipes from which this one went on, the first one first, and itself.

    It went on from a network as it is now: from what `NAME_again` made of it, if that has results.
    """
    known = list_recipes()
    start = Path(load_config(name).init_from or "").stem
    if start not in known:
        return [name]
    again = start + AGAIN
    done = again != name and (FOLDER / "results" / f"{again}.json").exists()
    return [*find_trainings(again if done else start), name]


def describe_training(name: str) -> dict[str, Any]:
    """What a card says of how a network was trained.

    Data, commands, updates and hours are of all trainings, commit and hardware of the last.
    """
    names = find_trainings(name)
    found = [json.loads((FOLDER / "results" / f"{each}.json").read_text()) for each in names]
    hardware, _, rest = found[-1][-1]["environment"].partition(";")
    return {
        "data": describe_data([load_config(each).data.path for each in names]),
        "recipe": f"experiments/quality/recipes/{name}.py",
        "command": "; ".join(f"python -m experiments.quality.part {each}" for each in names),
        "commit": rest.partition("commit ")[2].partition(",")[0],
        "updates": sum(parts[-1]["step"] for parts in found),
        "hours": round(sum(row["minutes"] for parts in found for row in parts) / 60, 2),
        "hardware": f"{found[-1][-1]['cores']} of {hardware.rpartition(' of ')[2]}",
    }


def describe_data(paths: Sequence[str]) -> str:
    """What a card says of the training images of trainings that went on from one another."""
    when, part = "at last " if len(set(paths)) > 1 else "", ""
    if cut := prepare.TEXTURED.get(paths[-1]):
        reduced = ", also of them reduced to 3/4 and 1/2" if cut.factors[1:] else ""
        part = f"; {when}the half of their squares with most texture{reduced}"
    if set(paths) <= FREE:
        return (
            "123 photographs, 56 megapixels, ten of which validated, with licences that "
            "allow it: CC0, public domain, CC BY, CC BY-SA, LGPL, Unsplash, Pexels; photos.csv "
            f"names the licence of each and, if known, its author{part}"
        )
    first = prepare.TEXTURED.get(paths[0])
    folders = [Path(name).name for name in (first.sources if first else paths[0].split(","))]
    return f"{' and '.join(folders)}{part}, for academic use"


if __name__ == "__main__":
    typer.run(main)
