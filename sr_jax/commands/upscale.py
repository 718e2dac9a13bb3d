"""`sr-jax upscale`: image files in, larger image files out."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sr_jax.commands.compilations import keep_compilations
from sr_jax.commands.console import image_progress, parse_length, printable, report_failure
from sr_jax.commands.enlarger import (
    BICUBIC,
    Enlarger,
    describe_cost,
    failure_of,
    open_enlarger,
)
from sr_jax.commands.files import find_images, is_file_name, leave_out_results, name_outputs
from sr_jax.commands.journal import Journal, journal_path, stamp
from sr_jax.commands.many import Many, Part, Ray, Workers
from sr_jax.commands.many_images import upscale_many
from sr_jax.commands.model import OWN_SCALE, Allow, Step, choose_models
from sr_jax.commands.video import names_video, upscale_video
from sr_jax.inference.settings import STEP, Settings

if TYPE_CHECKING:
    import numpy as np


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
    for given in inputs if output is None and not dry_run else ():
        if given.is_dir():
            raise ValueError(f"give --output, a folder for the results of {given}")
    files, failures, left_out, _ = find_images(inputs, output)
    targets, unnamed = name_outputs(files, output, suffix, kind) if output else ({}, {})

    if comparison:
        import matplotlib  # noqa: F401  that it is missing is told before any work
    # Whatever takes long to import is imported here, so that `--help` answers at once.
    import jax
    from rich.console import Console

    from sr_jax.imaging.files import read_picture, write_image
    from sr_jax.inference.cost import measure_rate
    from sr_jax.inference.layout import plan, share_programs
    from sr_jax.inference.upscaler import resize_image, scaled_size, upscale_image

    keep_compilations()
    networks: dict[str, Enlarger] = {}
    if model:
        networks[model] = open_enlarger(model, scale, settings, allow or (), step)
    asked_scale = scale or (networks[model].factor if model else OWN_SCALE)
    if output is None:  # beside the images
        suffix = suffix or f"_x{asked_scale:g}"
        files, results = leave_out_results(files, suffix, kind)
        left_out += results
        targets, unnamed = name_outputs({path: path for path in files}, Path(), suffix, kind)
        folder = next((target.parent for target in targets.values()), Path())
    else:
        folder = output.parent if is_file_name(output) else output
    if comparison in (*targets, *targets.values()):
        raise ValueError(f"--comparison {comparison} is an input or an output: give another name")
    failures += unnamed.values()
    console = Console(stderr=True)
    names = dict.fromkeys(targets, model) if model else choose_models(targets, asked_scale)
    for name in dict.fromkeys(names.values()):
        if name not in networks:
            networks[name] = open_enlarger(name, asked_scale, settings)
    identities = [network.identity for network in networks.values()]
    asked = {"model": identities, "scale": scale, "alpha": alpha, "quality": quality}
    asked |= dataclasses.asdict(settings)
    journal = Journal(journal_path(folder, asked), asked)
    finished = _finished(targets, journal)
    if not (overwrite or dry_run):
        taken = [path for path in (*targets.values(), comparison) if path and path.exists()]
        strange = [path for path in taken if str(path.absolute()) not in journal.entries]
        if strange:
            raise ValueError(
                f"{strange[0]} exists and is not of an unfinished run of this command: give "
                "--overwrite, or another --output or --suffix"
            )
        targets = {path: target for path, target in targets.items() if path not in finished}
        if comparison and str(comparison.absolute()) in journal.entries:
            comparison = None
        if finished:
            print(f"going on: {len(finished)} images are done; --overwrite does them anew")
    for line in left_out:
        print(printable(f"left out of {line}"))

    if shard_image and len(jax.local_devices()) == 1:
        console.print(
            "note: there is a single device, so that --shard-image changes nothing", soft_wrap=True
        )
    for failure in failures:
        report_failure(console, failure)
    done, start = 0, time.perf_counter()
    for name, network in networks.items():
        if network.loaded:
            sizes = _sizes(path for path in targets if names[path] == name)
            network.settings = share_programs(*network.loaded, sizes, network.factor, settings)
    if any(network.settings != settings for network in networks.values()):
        print("many sizes share programs, with the same pixels (--tile none: one for each)")
    with image_progress(console) as progress:
        task = progress.add_task("compiling, upscaling", total=len(targets))
        for path, target in targets.items():
            network = networks[names[path]]
            try:
                image, icc_profile, metadata = read_picture(path)
                size = scaled_size(image.shape, asked_scale)
                if dry_run and network.loaded:
                    height, width = image.shape[:2]
                    how = network.factor, network.settings
                    cost = plan(*network.loaded, height, width, *how)
                    network.rate = network.rate or measure_rate(*network.loaded, *how)
                    twice = alpha == "network" and image.ndim == 3 and image.shape[2] in (2, 4)
                    passes = 2 if twice else 1
                    print(describe_cost(path, image.shape, size, cost, network.rate, passes))
                    continue
                if image.dtype == "uint16" and dtype == "bfloat16":
                    lost = f"note: {path} has 16 bits, bfloat16 keeps 8: give --dtype float32"
                    console.print(printable(lost), markup=False, soft_wrap=True)
                if network.loaded is None:
                    result = resize_image(image, size)
                else:
                    result = upscale_image(
                        *network.loaded,
                        image,
                        network.factor,
                        network.settings,
                        size=None if size == scaled_size(image.shape, network.factor) else size,
                        alpha=str(alpha),
                    )
                write_image(
                    target, result, icc_profile=icc_profile, metadata=metadata, quality=quality
                )
                done += 1
                # Where it cannot be written, the command cannot go on after an interruption.
                with contextlib.suppress(OSError):
                    journal.add(str(target.absolute()), _origin(path))
                if comparison:
                    _write_comparison(comparison, image, result)
                    with contextlib.suppress(OSError):
                        journal.add(str(comparison.absolute()), {})
                    comparison = None
            except (ValueError, OSError, MemoryError, RuntimeError) as error:
                failures.append(failure_of(path, error))
                report_failure(console, failures[-1])
            finally:
                progress.update(task, advance=1, description="upscaling")
    if targets and not dry_run:
        seconds = time.perf_counter() - start
        only = f"to {next(iter(targets.values()))}" if len(targets) == 1 else "beside the images"
        where = f"to {output}" if output else only
        print(
            f"{done} of {len(targets)} images written {where} in {seconds:.1f} s "
            f"({done / seconds:.2f} images/s)"
        )
    if failures:
        raise typer.Exit(1)
    if not dry_run:
        journal.close()


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


def _origin(path: Path) -> dict[str, Any]:
    """What an output was made of."""
    return {"input": str(path.absolute()), "stamp": stamp(path)}


def _finished(targets: dict[Path, Path], journal: Journal) -> dict[Path, Path]:
    """Those whose outputs are there, made of the same inputs by the same command."""
    return {
        path: target
        for path, target in targets.items()
        if journal.entries.get(str(target.absolute())) == _origin(path) and target.exists()
    }


def _sizes(paths: Iterable[Path]) -> Iterator[tuple[int, int]]:
    """Heights and widths by the files' headers; what is broken is reported when its turn comes."""
    from sr_jax.imaging.files import read_size

    for path in paths:
        with contextlib.suppress(ValueError):
            yield read_size(path)


def _write_comparison(path: Path, image: "np.ndarray", result: "np.ndarray") -> None:
    from sr_jax.imaging.comparison import Comparison, write_comparison
    from sr_jax.imaging.files import from_float, to_float, to_rgb
    from sr_jax.imaging.resize import imresize

    bicubic = imresize(image, size=result.shape[:2])
    panels = {"bicubic": to_rgb(bicubic), "network": to_rgb(result)}
    if image.dtype != "uint8":  # a picture on a screen has 8 bits
        panels = {label: from_float(to_float(panel)) for label, panel in panels.items()}
    write_comparison(path, [Comparison(f"x{result.shape[0] / image.shape[0]:.3g}", panels)])
