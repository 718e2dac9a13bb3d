"""Lays what the card's machine needs into one folder of at most so many MiB.

    python -m experiments.gpu.prepare --t91 T91 --bsds200 BSDS200 --set5 Set5 --photos photos

Images are written as lossless WebP, of which every pixel is compared with the original's.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.progress import track

from experiments.harness import commit
from sr_jax.imaging.listing import list_images


def main(
    t91: Annotated[Path, typer.Option(help="The 91 images.")],
    bsds200: Annotated[Path, typer.Option(help="The 200 images.")],
    set5: Annotated[Path, typer.Option(help="Set5, its HR images.")],
    photos: Annotated[Path | None, typer.Option(help="Photographs, best first.")] = None,
    earlier: Annotated[Path | None, typer.Option(help="Output of an earlier run.")] = None,
    output: Annotated[Path, typer.Option(help="The folder.")] = Path("runs/gpu-data"),
    most: Annotated[float, typer.Option(help="MiB in all.")] = 55.0,
) -> None:
    """Copies everything, and photographs for as long as there is room."""
    left = int(most * 2**20)
    # All 291 train; Set5 is what the training is watched by; nothing is chosen by it.
    places = (
        ("Set5/HR", set5),
        ("291/validation", set5),
        ("291/train/T91", t91),
        ("291/train/BSDS200", bsds200),
    )
    for name, folder in places:
        for image in track(list_images(folder), name):
            left -= write(image, output / name / f"{image.stem}.webp")
    (output / "commit.txt").write_text(commit())
    for part in sorted(earlier.glob("*.tar.*")) if earlier else ():
        (output / part.name).write_bytes(part.read_bytes())
        left -= part.stat().st_size
    if left < 0:
        raise typer.BadParameter(f"{-left / 2**20:.1f} MiB over --most: leave something out")
    taken = 0
    for image in list_images(photos) if photos else ():
        if image.stat().st_size > left:
            break
        left -= write(image, output / "photos" / f"{image.stem}.webp")
        taken += 1
    print(f"{output}: {most - left / 2**20:.1f} MiB, {taken} photographs")


def write(source: Path, target: Path) -> int:
    """Writes an image as lossless WebP, or takes the file if it is one. Returns its bytes.

    Raises:
        ValueError: a pixel differs.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        pixels = np.asarray(image.convert("RGB"))
    if source.suffix == ".webp":
        target.write_bytes(source.read_bytes())
    else:
        Image.fromarray(pixels).save(target, lossless=True, quality=100, method=3)
    with Image.open(target) as image:
        if not np.array_equal(np.asarray(image.convert("RGB")), pixels):
            raise ValueError(f"{target} is not {source}, pixel by pixel")
    return target.stat().st_size


if __name__ == "__main__":
    typer.run(main)
