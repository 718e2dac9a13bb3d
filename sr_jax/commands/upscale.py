"""`sr-jax upscale`: image files in, larger image files out."""

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sr_jax.commands.console import parse_length
from sr_jax.commands.enlarger import BICUBIC
from sr_jax.commands.files import is_file_name
from sr_jax.commands.images import upscale_images
from sr_jax.commands.many import Many, Part, Ray, Workers
from sr_jax.commands.many_images import upscale_many
from sr_jax.commands.model import Allow, Step
from sr_jax.commands.video import names_video, upscale_video
from sr_jax.inference.settings import STEP, Settings


class Dtype(StrEnum):
    """In what the network computes."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float64 = "float64"


class Format(StrEnum):
    """What files are written."""

    png = "png"
    jpeg = "jpeg"
    webp = "webp"
    avif = "avif"
    tiff = "tiff"


_SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "avif": ".avif", "tiff": ".tif"}
_LOSSY = (".jpg", ".jpeg", ".webp", ".avif")


class Alpha(StrEnum):
    """How opacity is upscaled."""

    bicubic = "bicubic"
    network = "network"


def upscale(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Images, folders of images at any depth, or patterns; or one video, or one folder "
            "of numbered frames."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results; of a single image or video also a file's name. By "
            "default beside each image, as NAME_x2.png. Of numbered frames a video's name.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A network that comes with sr_jax (see `sr-jax models`), a weights file, a "
            "training workdir, hf:USER/REPO on the Hugging Face Hub, or bicubic. By default the "
            "best that comes with sr_jax: for images in JPEG and for videos one made for JPEG, "
            "else another.",
            show_default=False,
        ),
    ] = None,
    step: Step = None,
    allow: Allow = None,
    scale: Annotated[
        float | None,
        typer.Option(
            help="Any factor, also fractional; by default the network's own. What the network "
            "does not reach itself is resized bicubically."
        ),
    ] = None,
    suffix: Annotated[str, typer.Option(help="Comes after the names of the outputs.")] = "",
    file_format: Annotated[
        Format | None,
        typer.Option("--format", help="What files are written: png unless --output names one."),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="Of JPEG (95 by default), AVIF (90), WebP (lossless) and videos (66).",
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            help="Frames a second of a video made of numbered frames: 25 or 30000/1001.",
            show_default=False,
        ),
    ] = None,
    tile: Annotated[
        str,
        typer.Option(
            help="Side of the tiles in pixels; 'auto': whole images, or the largest tiles that fit "
            "into memory; in folders of many sizes padded so that they share programs, with the "
            "same result where the network allows it; 'none': whole images."
        ),
    ] = "auto",
    overlap: Annotated[
        str | None,
        typer.Option(
            help="Pixels that a tile sees beyond its part; 'exact': as far as the network looks. "
            "By default that, but 32 at most."
        ),
    ] = None,
    ensemble: Annotated[bool, typer.Option(help="The mean over eight symmetries.")] = False,
    dtype: Annotated[Dtype, typer.Option(help="In what the network computes.")] = Dtype.float32,
    batch: Annotated[int, typer.Option(help="Tiles a call of the network.")] = 1,
    bucket: Annotated[
        bool,
        typer.Option(
            help="Pad sides shorter than a tile to multiples of 32: fewer compilations for images "
            "of many sizes. RCAN, SAN and CSNLN give slightly other pixels near their right and "
            "lower border, the other networks the same."
        ),
    ] = False,
    shard_image: Annotated[
        bool,
        typer.Option(
            help="Split every image by rows over all devices, of which each needs a part of the "
            "memory; takes the place of tiles."
        ),
    ] = False,
    alpha: Annotated[Alpha, typer.Option(help="How opacity is upscaled.")] = Alpha.bicubic,
    dry_run: Annotated[
        bool, typer.Option(help="Print what each image would cost; write nothing.")
    ] = False,
    comparison: Annotated[
        Path | None, typer.Option(help="Picture of the first image: bicubic and network.")
    ] = None,
    part: Part = None,
    ray: Ray = None,
    workers: Workers = None,
    overwrite: Annotated[bool, typer.Option(help="Replace files that exist.")] = False,
) -> None:
    """Upscales images or a video with a network; one bad image does not stop the others.

    PNG, JPEG, TIFF, WebP, BMP, GIF, AVIF and JPEG 2000 in; PNG, JPEG, TIFF, WebP or AVIF out. Of a
    video, or a folder of numbered frames, a video comes out. After an interruption the same command
    does what is missing.

    Depth (8 or 16 bit), layout (grey, RGB, alpha), colour profile, Exif and resolution are those of
    the input; what a format cannot store is refused.
    """
    if model is None and step is not None:
        raise ValueError("--step is of a training workdir: give it with --model")
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"--scale is {scale}, expected a positive number")
    if model == BICUBIC and (scale is None or comparison or dry_run):
        raise ValueError("--model bicubic needs --scale, and has no --comparison and no --dry-run")
    settings = Settings(
        tile=parse_length("--tile", tile, "auto", "none"),
        overlap=parse_length("--overlap", overlap, "exact"),
        ensemble=ensemble,
        dtype=str(dtype),
        batch=batch,
        bucket=STEP if bucket else 1,
        shard=shard_image,
    )
    if names_video(inputs, output):
        for_images: dict[str, object] = {"--format": file_format, "--comparison": comparison}
        for_images |= {"--bucket": bucket, "--alpha": alpha != Alpha.bicubic}
        for_images |= {"--part": part, "--ray": ray}
        for option, given in for_images.items():
            if given:
                raise ValueError(f"{option} is for images, not for videos: leave it out")
        upscale_video(
            inputs,
            settings,
            output=output,
            suffix=suffix,
            model=model,
            step=step,
            allow=allow or (),
            scale=scale,
            quality=quality,
            rate=rate,
            dry_run=dry_run,
            overwrite=overwrite,
        )
        return
    if rate is not None:
        raise ValueError("--rate is for a video made of frames: name one by --output, in .mp4")
    kind = _kind_of_output(output, file_format, quality)
    many = Many(part, ray, workers)
    if many.takes(inputs, output):
        many.refuse({"--comparison": comparison, "--dry-run": dry_run})
        upscale_many(
            inputs,
            output,
            settings,
            many,
            model=model,
            step=step,
            allow=allow or (),
            scale=scale,
            suffix=suffix,
            kind=kind,
            alpha=str(alpha),
            quality=quality,
            overwrite=overwrite,
        )
        return
    upscale_images(
        inputs,
        settings,
        output=output,
        model=model,
        step=step,
        allow=allow or (),
        scale=scale,
        suffix=suffix,
        kind=kind,
        alpha=str(alpha),
        quality=quality,
        dry_run=dry_run,
        comparison=comparison,
        overwrite=overwrite,
    )


def _kind_of_output(output: Path | None, file_format: Format | None, quality: int | None) -> str:
    """The suffix of the files that are written."""
    kind = _SUFFIXES[file_format or "png"]
    if output is not None and is_file_name(output):
        if file_format:
            raise ValueError(f"--output {output} names the format already: leave --format out")
        kind = output.suffix.lower()
    if quality and kind not in _LOSSY:
        raise ValueError(f"--quality is for JPEG, WebP and AVIF, not for {kind} files")
    return kind
