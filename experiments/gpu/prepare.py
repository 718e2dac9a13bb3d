"""Lays what the card's machine needs into one folder, which with this repository fits what is sent.

    python -m experiments.gpu.prepare --t91 T91 --bsds200 BSDS200 --set5 Set5

Images are written as lossless WebP, of which every pixel is compared with the original's.
"""

import subprocess
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.progress import track

from experiments.harness import REPOSITORY, commit
from sr_jax.imaging.listing import list_images


def main(
    t91: Annotated[Path, typer.Option(help="The 91 images.")],
    bsds200: Annotated[Path, typer.Option(help="The 200 images.")],
    set5: Annotated[Path, typer.Option(help="Set5, its HR images.")],
    earlier: Annotated[Path | None, typer.Option(help="Output of an earlier run.")] = None,
    output: Annotated[Path, typer.Option(help="The folder.")] = Path("runs/gpu-data"),
    most: Annotated[float, typer.Option(help="MiB in all, with the repository's files.")] = 63.5,
) -> None:
    """Copies everything, and says how much it is."""
    left = int(most * 2**20) - tree_bytes()
    # All 291 train; Set5 is what the training is watched by; nothing is chosen by it.
    places = (
        ("291/validation/Set5", set5),
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
        raise typer.BadParameter(
            f"{-left / 2**20:.1f} MiB over --most, with {tree_bytes() / 2**20:.1f} MiB of the "
            "repository's own files: the README says how to send fewer of them"
        )
    print(
        f"{output}: with {tree_bytes() / 2**20:.1f} MiB of the repository's own files "
        f"{most - left / 2**20:.1f} MiB"
    )


def tree_bytes() -> int:
    """The bytes of the repository's files that git does not ignore, as they lie here now."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    files = (REPOSITORY / name for name in names.stdout.split("\0") if name)
    return sum(file.stat().st_size for file in files if file.is_file())


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
        Image.fromarray(pixels).save(target, lossless=True, quality=100, method=4)
    with Image.open(target) as image:
        if not np.array_equal(np.asarray(image.convert("RGB")), pixels):
            raise ValueError(f"{target} is not {source}, pixel by pixel")
    return target.stat().st_size


if __name__ == "__main__":
    typer.run(main)
