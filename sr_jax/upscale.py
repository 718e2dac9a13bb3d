"""Image files in, larger image files out.

Run as `sr-jax upscale` or `python -m sr_jax.upscale`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sr_jax.console import run

if TYPE_CHECKING:
    import numpy as np


def upscale(
    inputs: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    model: Annotated[str, typer.Option(help="A weights file or a training workdir.")],
    output: Annotated[Path, typer.Option(help="Folder for the PNG files.")],
    scale: Annotated[
        int | None, typer.Option(help="The factor, where the weights do not say it.")
    ] = None,
    comparison: Annotated[
        Path | None, typer.Option(help="Picture of the first image: bicubic and network.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace files that exist.")] = False,
) -> None:
    """Upscales images with a trained network; one bad file does not stop the others."""
    # Whatever takes long to import is imported here, so that `--help` answers at once.
    import rich
    from rich.progress import Progress

    from sr_jax import weights
    from sr_jax.imaging.files import read_image, write_image
    from sr_jax.inference.upscaler import network_scale, upscale_image

    network, variables = weights.load(weights.find(model))
    factor = network_scale(network, scale)
    files = _plan(inputs, output)
    taken = [target for target in (*files.values(), comparison) if target and target.exists()]
    if taken and not overwrite:
        raise ValueError(f"{taken[0]} exists: give --overwrite, or another --output")
    failures = []
    with Progress(transient=True) as progress:
        for path, target in progress.track(files.items(), description="upscaling"):
            try:
                image = read_image(path)
                result = upscale_image(network, variables, image, factor)
                write_image(target, result)
                if comparison:
                    _write_comparison(comparison, image, result, factor)
                    comparison = None
            except ValueError as error:
                failures.append(path)
                rich.get_console().print(f"[red]failed[/red] {error}", soft_wrap=True)
    print(f"{len(files) - len(failures)} of {len(files)} images written to {output}")
    if failures:
        raise typer.Exit(1)


def _plan(inputs: list[Path], output: Path) -> dict[Path, Path]:
    """Input file -> output file; folders keep their inner structure."""
    from sr_jax.imaging.files import list_images

    files: dict[Path, Path] = {}
    for path in inputs:
        if path.is_dir():
            found = {file: file.relative_to(path) for file in list_images(path)}
        elif path.exists():
            found = {path: Path(path.name)}
        else:
            raise ValueError(f"no such image or folder: {path}")
        for file, name in found.items():
            target = output / name.with_suffix(".png")
            if target in files.values():
                raise ValueError(f"{file} and another input would both become {target}")
            files[file] = target
    return files


def _write_comparison(path: Path, image: "np.ndarray", result: "np.ndarray", factor: int) -> None:
    from sr_jax.imaging.files import from_float, to_float, to_rgb
    from sr_jax.imaging.resize import imresize
    from sr_jax.inference.comparison import Comparison, write_comparison

    panels = {"bicubic": to_rgb(imresize(image, factor)), "network": to_rgb(result)}
    if image.dtype != "uint8":  # a picture on a screen has 8 bits
        panels = {label: from_float(to_float(panel)) for label, panel in panels.items()}
    write_comparison(path, [Comparison(f"x{factor}", panels)])


if __name__ == "__main__":
    run(lambda: typer.run(upscale))
