"""`sr-jax upscale` of images, in one process."""

import contextlib
import dataclasses
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sr_jax.commands.compilations import keep_compilations
from sr_jax.commands.console import image_progress, printable, report_failure
from sr_jax.commands.enlarger import Enlarger, describe_cost, failure_of, open_enlarger
from sr_jax.commands.files import find_images, is_file_name, leave_out_results, name_outputs
from sr_jax.commands.journal import Journal, journal_path, stamp
from sr_jax.commands.model import OWN_SCALE, choose_models

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from sr_jax.inference.settings import Settings


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the command asks of every image.

    Attributes:
        scale: by which images grow, the network's own if none was given.
        settings: how they go through the network, before programs are shared.
        alpha: 'bicubic' or 'network'.
        quality: of lossy files.
    """

    scale: float
    settings: "Settings"
    alpha: str
    quality: int | None


def upscale_images(
    inputs: Sequence[Path],
    settings: "Settings",
    *,
    output: Path | None,
    model: str | None,
    step: int | None,
    allow: Sequence[str],
    scale: float | None,
    suffix: str,
    kind: str,
    alpha: str,
    quality: int | None,
    dry_run: bool,
    comparison: Path | None,
    overwrite: bool,
) -> None:
    """Upscales images: see `sr_jax.commands.upscale.upscale`. `kind` is the outputs' suffix.

    Raises:
        ValueError: what no image could be upscaled with.
        typer.Exit: with 1, at the end, where an image failed.
    """
    for given in inputs if output is None and not dry_run else ():
        if given.is_dir():
            raise ValueError(f"give --output, a folder for the results of {given}")
    files, failures, left_out, _ = find_images(inputs, output)
    targets, unnamed = name_outputs(files, output, suffix, kind) if output else ({}, {})
    if comparison:
        import matplotlib  # noqa: F401  that it is missing is told before any work
    # Whatever takes long to import is imported in functions, so that `--help` answers at once.
    import jax
    from rich.console import Console

    keep_compilations()
    networks = {model: open_enlarger(model, scale, settings, allow, step)} if model else {}
    asked = Asked(
        scale or (networks[model].factor if model else OWN_SCALE), settings, alpha, quality
    )
    if output is None:  # beside the images
        suffix = suffix or f"_x{asked.scale:g}"
        files, results = leave_out_results(files, suffix, kind)
        left_out += results
        targets, unnamed = name_outputs({path: path for path in files}, Path(), suffix, kind)
        folder = next((target.parent for target in targets.values()), Path())
    else:
        folder = output.parent if is_file_name(output) else output
    if comparison in (*targets, *targets.values()):
        raise ValueError(f"--comparison {comparison} is an input or an output: give another name")
    failures += unnamed.values()
    names = dict.fromkeys(targets, model) if model else choose_models(targets, asked.scale)
    for name in dict.fromkeys(names.values()):
        if name not in networks:
            networks[name] = open_enlarger(name, asked.scale, settings)
    identities = [network.identity for network in networks.values()]
    job = {"model": identities, "scale": scale, "alpha": alpha, "quality": quality}
    job |= dataclasses.asdict(settings)
    journal = Journal(journal_path(folder, job), job)
    if not (overwrite or dry_run):
        targets, comparison = _leave_out_done(targets, comparison, journal)
    for line in left_out:
        print(printable(f"left out of {line}"))
    console = Console(stderr=True)
    if settings.shard and len(jax.local_devices()) == 1:
        console.print(
            "note: there is a single device, so that --shard-image changes nothing", soft_wrap=True
        )
    for failure in failures:
        report_failure(console, failure)
    _share_programs(networks, names, targets, settings)
    done, start = 0, time.perf_counter()
    with image_progress(console) as progress:
        task = progress.add_task("compiling, upscaling", total=len(targets))
        for path, target in targets.items():
            network = networks[names[path]]
            try:
                if dry_run:
                    print(_cost(path, network, asked))
                    continue
                image, result = _upscale(path, target, network, asked, console)
                done += 1
                # Where it cannot be noted, the command cannot go on after an interruption.
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
    # Of a folder that may grow the record stays, so that the same command does new images only.
    grows = not all(given.is_file() for given in inputs) and folder == output
    if not (dry_run or grows):
        journal.close()


def _leave_out_done(
    targets: dict[Path, Path], comparison: Path | None, journal: Journal
) -> tuple[dict[Path, Path], Path | None]:
    """The outputs and the comparison that an earlier run of the same command has left to do."""
    taken = [path for path in (*targets.values(), comparison) if path and path.exists()]
    strange = [path for path in taken if str(path.absolute()) not in journal.entries]
    if strange:
        raise ValueError(
            f"{strange[0]} exists and is not of an unfinished run of this command: give "
            "--overwrite, or another --output or --suffix"
        )

    def done(path: Path, target: Path) -> bool:
        noted = journal.entries.get(str(target.absolute()))
        return noted == _origin(path) and target.exists()

    left = {path: target for path, target in targets.items() if not done(path, target)}
    if len(left) < len(targets):
        number = len(targets) - len(left)
        print(f"going on (images done before: {number}); --overwrite does them anew")
    if comparison and str(comparison.absolute()) in journal.entries:
        comparison = None
    return left, comparison


def _origin(path: Path) -> dict[str, Any]:
    """What an output was made of."""
    return {"input": str(path.absolute()), "stamp": stamp(path)}


def _share_programs(
    networks: dict[str, Enlarger],
    names: dict[Path, str],
    paths: Collection[Path],
    settings: "Settings",
) -> None:
    """Lets images of many sizes share programs, and says so."""
    from sr_jax.inference.layout import share_programs

    for name, network in networks.items():
        if network.loaded:
            sizes = _sizes(path for path in paths if names[path] == name)
            network.settings = share_programs(*network.loaded, sizes, network.factor, settings)
    if any(network.settings != settings for network in networks.values()):
        print("many sizes share programs, with the same pixels (--tile none: one for each)")


def _sizes(paths: Iterable[Path]) -> Iterator[tuple[int, int]]:
    """Heights and widths by the files' headers; what is broken is reported when its turn comes."""
    from sr_jax.imaging.files import read_size

    for path in paths:
        with contextlib.suppress(ValueError):
            yield read_size(path)


def _cost(path: Path, network: Enlarger, asked: Asked) -> str:
    """What an image would cost, in a line."""
    from sr_jax.imaging.files import read_picture
    from sr_jax.inference.cost import measure_rate
    from sr_jax.inference.layout import plan
    from sr_jax.inference.upscaler import scaled_size

    assert network.loaded, "bicubic interpolation has no --dry-run"
    image, _, _ = read_picture(path)
    height, width = image.shape[:2]
    how = network.factor, network.settings
    cost = plan(*network.loaded, height, width, *how)
    network.rate = network.rate or measure_rate(*network.loaded, *how)
    twice = asked.alpha == "network" and image.ndim == 3 and image.shape[2] in (2, 4)
    size = scaled_size(image.shape, asked.scale)
    return describe_cost(path, image.shape, size, cost, network.rate, 2 if twice else 1)


def _upscale(
    path: Path, target: Path, network: Enlarger, asked: Asked, console: "Console"
) -> tuple["np.ndarray", "np.ndarray"]:
    """Writes the result of an image; returns both."""
    from sr_jax.imaging.files import read_picture, write_image
    from sr_jax.inference.upscaler import resize_image, scaled_size, upscale_image

    image, icc_profile, metadata = read_picture(path)
    size = scaled_size(image.shape, asked.scale)
    if image.dtype == "uint16" and asked.settings.dtype == "bfloat16":
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
            alpha=asked.alpha,
        )
    write_image(target, result, icc_profile=icc_profile, metadata=metadata, quality=asked.quality)
    return image, result


def _write_comparison(path: Path, image: "np.ndarray", result: "np.ndarray") -> None:
    from sr_jax.imaging.comparison import Comparison, write_comparison
    from sr_jax.imaging.files import from_float, to_float, to_rgb
    from sr_jax.imaging.resize import imresize

    bicubic = imresize(image, size=result.shape[:2])
    panels = {"bicubic": to_rgb(bicubic), "network": to_rgb(result)}
    if image.dtype != "uint8":  # a picture on a screen has 8 bits
        panels = {label: from_float(to_float(panel)) for label, panel in panels.items()}
    write_comparison(path, [Comparison(f"x{result.shape[0] / image.shape[0]:.3g}", panels)])
