"""`sr-jax view`: a page in the browser, before and after under one slider."""

import contextlib
import os
import signal
import sys
import tempfile
import threading
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from sr_jax.commands.compilations import keep_compilations
from sr_jax.commands.console import parse_length, printable
from sr_jax.commands.files import find_images
from sr_jax.commands.model import Allow, Step, open_model

_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def view(
    place: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER|IMAGE",
            help="An image, or a folder of images to choose from. Others are dropped on the page.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="What is chosen at first, beside the networks that come with sr_jax: a weights "
            "file, a training workdir, hf:USER/REPO on the Hugging Face Hub, or bicubic. May be "
            "repeated: the first one is chosen. By default the best for each image.",
            show_default=False,
        ),
    ] = None,
    step: Step = None,
    allow: Allow = None,
    tile: Annotated[
        str,
        typer.Option(
            help="Side of the tiles in pixels; 'auto': whole images, or the largest tiles that fit "
            "into memory; 'none': whole images."
        ),
    ] = "auto",
    host: Annotated[
        str,
        typer.Option(help="Address at which the page is reached; by default from here alone."),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="By default the first free one from 7860 on."),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Opens a page to upscale images on: before and after under one slider, and PSNR.

    It runs on this machine, and nothing is sent to another. Ctrl-C ends it. What was dropped on it
    is not kept then.
    """
    names = list(dict.fromkeys(model or ()))
    if step is not None and not names:
        raise ValueError("--step is of a training workdir: give it with --model")
    side = parse_length("--tile", tile, "auto", "none")
    images = _find(place) if place else []
    # Ended by `kill`, it leaves no more behind than by Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="sr_jax-view-", ignore_cleanup_errors=True) as kept:
        folder = Path(kept)
        from sr_jax.page import server
        from sr_jax.page.enlarging import AUTOMATIC, BICUBIC, Networks

        server.prepare(folder)
        import gradio  # noqa: F401  that it is missing is told before any work

        keep_compilations()
        given = {}
        for name in names:
            if name != BICUBIC:
                network, variables, note, _ = open_model(name, allow=allow or (), step=step)
                given[name] = network, variables
                if note:
                    print(note)
        networks = Networks(given, tile=side)
        first = names[0] if names else AUTOMATIC
        page = server.build(networks, folder, images, first=first)
        with server.serve(page, host, port) as address, contextlib.suppress(KeyboardInterrupt):
            if host not in _THIS_MACHINE:
                print(
                    f"warning: --host {host}: whoever reaches this machine there can use the page, "
                    "and see the images that are offered on it",
                    file=sys.stderr,
                )
            print(f"{address} (Ctrl-C ends it)", flush=True)
            if browser:
                webbrowser.open(address)
            threading.Event().wait()
    # A network that is still at work, in a thread, would make the end of Python a crash.
    sys.stdout.flush()
    os._exit(0)


def _find(place: Path) -> list[tuple[str, Path]]:
    """The images to choose from, with their names."""
    from sr_jax.imaging.files import read_size

    if not place.is_dir():
        read_size(place)  # raises for what is no image
        return [(printable(place.name), place)]
    found = find_images([place], None)
    for line in found.left_out:
        print(printable(f"left out of {line}"))
    for problem in found.problems:
        raise ValueError(problem)
    return [(printable(str(name)), path) for path, name in found.files.items()]
