"""The page itself, made with Gradio, and its server. Nothing is sent anywhere by either."""

import contextlib
import functools
import html
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr_jax.page.enlarging import Enlarged, Networks, enlarge, look

if TYPE_CHECKING:
    import gradio as gr

# Seconds: how often files are looked through, and how old they are when they go.
_KEPT = (3600, 24 * 3600)
# Seconds between two reports of progress: thousands of small tiles would keep a browser busy.
_TOLD_EVERY = 0.3
_CSS = """
.facts, .facts * { border: 0 !important; }
.facts th, .facts td { text-align: left; vertical-align: top; padding: 0.2em 1em 0.2em 0; }
.facts th { white-space: nowrap; }
.facts td { overflow-wrap: anywhere; }
.problem { border-left: 4px solid #c2410c; padding: 0.5em 1em; overflow-wrap: anywhere; }
"""


def prepare(folder: Path) -> None:
    """Lets Gradio keep its files in a folder, and what it is told by the environment not count.

    To be called before Gradio is imported, which reads its variables then. Of them some would
    share the page, or more files of this machine.
    """
    for name in [name for name in os.environ if name.startswith("GRADIO_")]:
        del os.environ[name]
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_EXAMPLES_CACHE"] = str(folder / "examples")
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"


def build(
    networks: Networks, folder: Path, images: Sequence[tuple[str, Path]] = (), *, first: str
) -> "gr.Blocks":
    """The page.

    Args:
        networks: to choose from.
        folder: for files; that of `prepare`.
        images: on this machine, with the names by which they are offered. The first one is shown.
        first: the network that is chosen at the beginning.
    """
    import gradio as gr

    scales = [f"{scale}" for scale in networks.scales(first)]
    at_work: set[str | None] = set()  # tabs that wait for a result
    with gr.Blocks(title="sr_jax", analytics_enabled=False, delete_cache=_KEPT) as page:
        source, views = gr.State(None), gr.State({})
        with gr.Row():
            with gr.Column(scale=1, min_width=280):
                listed = gr.Dropdown(
                    [(name, number) for number, (name, _) in enumerate(images)],
                    value=0 if images else None,
                    label="Images of this machine",
                    visible=len(images) > 1,
                )
                dropped = gr.File(label="Image", height=150)
                picture = gr.Image(
                    show_label=False, height=180, buttons=[], interactive=False, visible=False
                )
                about = _text("")
                network = gr.Dropdown(networks.names, value=first, label="Network")
                scale = gr.Dropdown(
                    scales,
                    value=scales[0],
                    label="Scale",
                    info="one of the network, or any other",
                    allow_custom_value=True,
                )
                original = gr.File(label="Original, for PSNR (may be left out)", height=150)
                with gr.Row():
                    button = gr.Button("Upscale", variant="primary", min_width=120)
                    stop = gr.Button("Stop", min_width=120)
            with gr.Column(scale=3, min_width=280):
                message = _problem("")
                slider = gr.ImageSlider(
                    show_label=False,
                    max_height=720,
                    buttons=["fullscreen"],
                    interactive=False,
                )
                part = gr.Radio(label="What is seen", visible=False)
                facts = _table({})
                download = gr.DownloadButton("Download the whole result", interactive=False)
        seen = [picture, about, source, original]
        result = [message, slider, part, facts, download, views]

        def show_image(path: str | Path | None) -> list[Any]:
            small, words, problem = None, "", ""
            if path is not None:
                try:
                    small, words = look(Path(path), folder)
                except ValueError as error:
                    path, problem = None, str(error)
            shown = gr.Image(value=str(small) if small else None, visible=small is not None)
            # An original is of one image.
            return [shown, _text(words), path and str(path), None, *_no_result(problem)]

        def show_listed(number: int | None) -> list[Any]:
            return show_image(None if number is None else images[number][1])

        def choose(show: Callable[[Any], list[Any]], chosen: Any) -> list[Any]:
            return [*show(chosen), None]  # what was chosen in the other way is chosen no more

        def offer_scales(name: str, scale: str) -> Any:
            own = [f"{own}" for own in networks.scales(name)]
            kept = scale in own or "." in scale  # a fraction is no network's own
            return gr.Dropdown(choices=own, value=scale if kept else own[0])

        def run(
            path: str | None,
            name: str,
            scale: str,
            original: str | None,
            request: gr.Request,
            progress: Any = gr.Progress(),  # where Gradio looks for it
        ) -> list[Any]:
            told = 0.0

            def report(done: int, total: int) -> None:
                if request.session_hash not in at_work:
                    raise ValueError("stopped")
                nonlocal told
                if time.monotonic() > told + _TOLD_EVERY:
                    told = time.monotonic()
                    progress((done, total), desc="upscaling", unit="tiles")

            if path is None:
                return _no_result("no image: drop one first")
            try:
                factor = float(scale)
            except (TypeError, ValueError):
                return _no_result(f"the scale is {scale!r}, expected a number")
            at_work.add(request.session_hash)
            progress(0, desc="reading, compiling")
            given = Path(original) if original else None
            try:
                enlarged = enlarge(
                    Path(path), networks, name, factor, folder, original=given, report=report
                )
            except ValueError as error:
                return _no_result(str(error))
            return _result(enlarged)

        def end(request: gr.Request) -> None:
            at_work.discard(request.session_hash)

        def show_view(views: Mapping[str, tuple[str, str]], part: str) -> tuple[str, str]:
            return views[part]

        private: dict[str, Any] = {"api_visibility": "private"}
        uploaded, picked = (functools.partial(choose, show) for show in (show_image, show_listed))
        dropped.upload(uploaded, dropped, [*seen, *result, listed], **private)
        dropped.clear(lambda: show_image(None), None, seen + result, **private)
        listed.input(picked, listed, [*seen, *result, dropped], **private)
        network.input(offer_scales, [network, scale], scale, show_progress="hidden", **private)
        part.input(show_view, [views, part], slider, **private)
        button.click(
            run,
            [source, network, scale, original],
            result,
            show_progress_on=slider,
            scroll_to_output=True,
            concurrency_limit=1,
            **private,
        )
        stop.click(end, None, None, queue=False, **private)
        page.unload(end)
        if images:
            page.load(lambda: show_listed(0), None, seen + result, **private)
    return page


@contextlib.contextmanager
def serve(page: "gr.Blocks", host: str, port: int | None) -> Iterator[str]:
    """Serves the page as long as the context lasts.

    Args:
        page: from `build`.
        host: the address of this machine at which it can be reached.
        port: None is the first free one from 7860 on.

    Yields:
        The address of the page.

    Raises:
        ValueError: the port is taken, or the address is not of this machine.
    """
    try:
        # Gradio would say so for a hundred ports.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port or 0), family=family).close()
        _, address, _ = page.launch(
            prevent_thread_lock=True,
            quiet=True,
            inbrowser=False,
            share=False,
            server_name=f"[{host}]" if ":" in host else host,
            server_port=port,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            ssr_mode=False,
            css=_CSS,
        )
    except OSError:
        where = f"--host {host}" + (f" --port {port}" if port else "")
        raise ValueError(
            f"cannot listen at {where}: it is taken, or no address of this machine; give another"
        ) from None
    try:
        yield address
    finally:
        page.close(verbose=False)


def _result(enlarged: Enlarged) -> list[Any]:
    """What the components of a result show."""
    import gradio as gr

    views = {what: tuple(map(str, files)) for what, files in enlarged.views.items()}
    first, *others = views
    return [
        _problem(enlarged.problem),
        views[first],
        gr.Radio(choices=list(views), value=first, visible=bool(others)),
        _table(enlarged.facts),
        gr.DownloadButton(value=str(enlarged.output), interactive=True),
        views,
    ]


def _no_result(problem: str) -> list[Any]:
    import gradio as gr

    return [
        _problem(problem),
        None,
        gr.Radio(visible=False),
        _table({}),
        gr.DownloadButton(value=None, interactive=False),
        {},
    ]


def _table(facts: Mapping[str, str]) -> "gr.HTML":
    rows = (
        f"<tr><th scope='row'>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
        for name, text in facts.items()
    )
    return _html(f"<table class='facts'>{''.join(rows)}</table>" if facts else "")


def _problem(text: str) -> "gr.HTML":
    return _html(f"<p class='problem' role='alert'>{html.escape(text)}</p>" if text else "")


def _text(text: str) -> "gr.HTML":
    return _html(f"<p>{html.escape(text)}</p>" if text else "")


def _html(content: str) -> "gr.HTML":
    """Markup; where there is none, no gap either."""
    import gradio as gr

    return gr.HTML(content, visible=bool(content), padding=False)
