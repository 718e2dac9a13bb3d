"""`sr-jax upscale` of a video, or of a folder of numbered frames: a video out."""

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from sr_jax.commands.compilations import keep_compilations
from sr_jax.commands.console import image_progress, printable
from sr_jax.commands.enlarger import (
    Enlarger,
    describe_cost,
    failure_of,
    open_enlarger,
)
from sr_jax.commands.files import is_file_name
from sr_jax.commands.journal import stamp
from sr_jax.commands.model import OWN_SCALE, choose_models
from sr_jax.commands.parts import PIECE, Parts
from sr_jax.storage import check_local

if TYPE_CHECKING:
    import numpy as np

    from sr_jax.imaging.numbered import NumberedFrames
    from sr_jax.imaging.video import Frame, Look, VideoFile
    from sr_jax.inference.settings import Settings

# What is written, by suffix: FFmpeg's names of the containers.
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
# What is taken for a video; what the file holds decides how it is read.
SUFFIXES = (
    *(*CONTAINERS, ".webm", ".avi", ".wmv", ".flv", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg"),
    *(".vob", ".3gp", ".ogv", ".mxf", ".y4m", ".nut"),
)
_FASTEST = 1000  # frames a second


def names_video(inputs: Sequence[Path], output: Path | None) -> bool:
    """Whether the arguments of the command ask for a video: among images one is a bad image."""

    def is_video(path: Path) -> bool:
        return path.suffix.lower() in SUFFIXES and not path.is_dir()

    return all(map(is_video, inputs)) or (output is not None and is_video(output))


def upscale_video(
    inputs: Sequence[Path],
    settings: "Settings",
    *,
    output: Path | None,
    suffix: str,
    model: str | None,
    step: int | None,
    allow: Sequence[str],
    scale: float | None,
    quality: int | None,
    rate: str | None,
    dry_run: bool,
    overwrite: bool,
) -> None:
    """Upscales a video, or frames to a video: see `sr_jax.commands.upscale.upscale`.

    Raises:
        ValueError: what is not understood in full, or would be lost.
    """
    import av  # that it is missing is told before any work

    from sr_jax.imaging.film import QUALITY, Copies, encode, join, plan_copies
    from sr_jax.imaging.video import VideoFile
    from sr_jax.inference.cost import measure_rate
    from sr_jax.inference.layout import plan
    from sr_jax.inference.upscaler import scaled_size

    if "libx264" not in av.codecs_available:
        raise ValueError("this PyAV was built without x264: give it that, or `pip install av`")
    source = _open_source(inputs, output, rate)
    keep_compilations()
    if model:
        enlarger = open_enlarger(model, scale, settings, allow, step)
    else:
        enlarger = open_enlarger(_choose(source, scale or OWN_SCALE), scale or OWN_SCALE, settings)
    factor = scale or (enlarger.factor if model else OWN_SCALE)
    target = _target(source.path, output, suffix, factor)
    before = source.look.height, source.look.width
    size = scaled_size(before, factor)
    look = _fitting(source.look, size)
    quality, container = quality or QUALITY, CONTAINERS[target.suffix.lower()]
    encode((), look, quality)  # tells what x264 does not take
    file = source if isinstance(source, VideoFile) else None
    copies = plan_copies(file, container) if file else Copies()

    asked = {"input": str(source.path.absolute()), "model": enlarger.identity, "scale": scale}
    asked |= {"quality": quality, "rate": rate, "piece": PIECE, "av": av.library_versions}
    asked |= dataclasses.asdict(settings) | {"stamp": stamp(file.path) if file else None}
    parts = Parts(target, source.files, asked, anew=overwrite or dry_run)
    parts.check()
    frames = parts.begun.get("frames") if file else None
    if frames is None:
        with image_progress(unit="frames") as progress:
            task = progress.add_task("reading", total=None)
            frames = source.count(lambda: progress.advance(task))
    notes = [*source.notes, *(f"left out of {source.path}: {what}" for what in copies.left_out)]
    if (look.height, look.width) != size:
        notes.append(
            f"of {size[1]} x {size[0]} pixels {look.width} x {look.height} are kept: "
            "4:2:0 and 4:2:2 have even sides"
        )
    if look.bits > 8 and settings.dtype == "bfloat16":
        notes.append(f"{source.path} has {look.bits} bits, bfloat16 keeps 8: give --dtype float32")
    for line in notes:
        print(printable(line))

    if dry_run and enlarger.loaded:
        cost = plan(*enlarger.loaded, *before, enlarger.factor, settings)
        speed = measure_rate(*enlarger.loaded, enlarger.factor, settings)
        each = describe_cost(source.path, before, (look.height, look.width), cost, speed)
        seconds = frames * cost.multiply_adds / speed
        rate_told = f"{float(look.rate):.6g} frames a second"
        print(printable(f"{each}; {frames} frames, {rate_told}: {seconds:.0f} s in all"))
        return
    tile = parts.begun["tile"] if parts.begun else _tile(enlarger, before)
    enlarger.settings = dataclasses.replace(settings, tile=tile)
    start, done = time.perf_counter(), 0
    try:
        with parts.at_work(frames=frames, tile=tile):
            done = _make(parts, source, frames, look, quality, _enlarging(enlarger, size, look))
            joined = parts.folder / f"joined{target.suffix}"
            with image_progress(unit="pieces") as progress:
                pieces = progress.track(parts.pieces(), -(-frames // PIECE), description="joining")
                lost = join(joined, container, look, quality, pieces, file, copies)
            parts.finish(joined)
    except (ValueError, MemoryError, RuntimeError) as error:
        raise ValueError(failure_of(source.path, error)) from error
    if lost:
        print(printable(f"left out of {source.path}: metadata {', '.join(lost)}"))
    seconds = time.perf_counter() - start
    print(f"{frames} frames written to {target} in {seconds:.1f} s ({done / seconds:.2f} frames/s)")


def _make(
    parts: Parts,
    source: "VideoFile | NumberedFrames",
    frames: int,
    look: "Look",
    quality: int,
    enlarge: Callable[["np.ndarray"], "np.ndarray"],
) -> int:
    """Makes the pieces that are missing; how many frames that took."""
    from sr_jax.imaging.film import encode

    first = done = sum(len(packets) for _, packets in parts.pieces())
    if done:
        print(f"going on (frames done before: {done}); --overwrite does them anew")
    with image_progress(unit="frames") as progress:
        task = progress.add_task("compiling, upscaling", total=frames, completed=done)

        def enlarged() -> Iterator["Frame"]:
            for frame in source.frames(first):
                yield frame._replace(rgb=enlarge(frame.rgb))
                progress.update(task, advance=1, description="upscaling")

        coming = enlarged()
        while done < frames:
            content, packets = encode(itertools.islice(coming, PIECE), look, quality)
            if not packets:
                raise ValueError(f"{source.path} has lost frames since it was looked at")
            parts.add(done, content, packets)
            done += len(packets)
    return done - first


def _tile(enlarger: Enlarger, size: tuple[int, int]) -> int | None:
    """The side of the tiles of all frames: one program, whatever memory is free later on."""
    from sr_jax.inference.layout import layout
    from sr_jax.inference.program import input_size

    if not enlarger.loaded:
        return None
    model, variables = enlarger.loaded
    inner = input_size(model, *size, enlarger.factor)
    cut = layout(model, variables, inner, enlarger.factor, enlarger.settings)
    return None if cut.tile == cut.size else max(cut.tile)


def _enlarging(
    enlarger: Enlarger, size: tuple[int, int], look: "Look"
) -> Callable[["np.ndarray"], "np.ndarray"]:
    """A function from frames to enlarged ones, RGB in [0, 1] both, but not clipped."""
    import numpy as np

    from sr_jax.imaging.resize import imresize
    from sr_jax.inference.upscaler import upscale_rgb

    def enlarge(rgb: np.ndarray) -> np.ndarray:
        if enlarger.loaded:
            rgb = upscale_rgb(*enlarger.loaded, rgb, enlarger.factor, enlarger.settings)
        if rgb.shape[:2] != size:
            rgb = imresize(rgb, size=size)
        if np.isnan(rgb).any():
            raise ValueError("a frame holds NaN: the network's output is broken")
        return rgb[: look.height, : look.width]

    return enlarge


def _open_source(
    inputs: Sequence[Path], output: Path | None, rate: str | None
) -> "VideoFile | NumberedFrames":
    """The frames that the arguments name."""
    from sr_jax.imaging.numbered import NumberedFrames
    from sr_jax.imaging.video import VideoFile

    if len(inputs) != 1:
        raise ValueError(
            f"a video is made of one video or one folder of numbered frames, and {len(inputs)} "
            "inputs are given: give them one by one"
        )
    path = inputs[0]
    if path.is_dir():
        if rate is None:
            raise ValueError(
                f"give --rate, how many frames of {path} last a second: 25, 30000/1001"
            )
        return NumberedFrames(path, _rate(rate))
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"--output {output} is a video, but {path} is neither one nor a folder of frames"
        )
    if rate is not None:
        raise ValueError(f"--rate is for folders of frames, but {path} has times of its own")
    return VideoFile(path)


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= _FASTEST or rate.denominator > 1_000_000:
        raise ValueError(
            f"--rate is {text!r}, expected frames a second, 25 or 30000/1001, up to {_FASTEST}"
        )
    return rate


def _choose(source: "VideoFile | NumberedFrames", scale: float) -> str:
    """The network of ours that is best for these frames; says which and why."""
    from sr_jax import pretrained

    if source.path.is_dir():
        (name,) = choose_models(source.files(0, 1), scale).values()
        return name
    card = pretrained.choose(scale, "photo")
    print(
        printable(
            f"{source.path.name}: {card.name}, made for JPEG, which videos resemble (--model takes "
            "another)"
        )
    )
    return card.name


def _target(path: Path, output: Path | None, suffix: str, scale: float) -> Path:
    """Where the video goes."""
    kind = path.suffix if path.suffix.lower() in CONTAINERS else ".mkv"
    if output is None:
        target = path.with_name(f"{path.stem}{suffix or f'_x{scale:g}'}{kind}")
    else:
        check_local("--output", output)
        named = output.suffix.lower()
        if not output.is_dir() and named in CONTAINERS:
            if suffix:
                raise ValueError(f"--suffix is for folders, but --output {output} names one video")
            target = output
        elif named in SUFFIXES or is_file_name(output) or path.is_dir():
            raise ValueError(f"--output is {output}, expected a video in {', '.join(CONTAINERS)}")
        else:
            target = output / f"{path.stem}{suffix}{kind}"
    if target.exists() and path.exists() and target.samefile(path):
        raise ValueError(f"the output would replace the input {path}: give another --output")
    return target


def _fitting(look: "Look", size: tuple[int, int]) -> "Look":
    """The look with a size: the last row and column go where chroma is halved and sides are odd."""
    height, width = size
    if "420" in look.pixels:
        height -= height % 2
    if "420" in look.pixels or "422" in look.pixels:
        width -= width % 2
    return dataclasses.replace(look, height=height, width=width)
