"""One HTML file of a benchmark: the table of means, and every image with two methods of it under
a slider. It holds all that it shows, so that it can be sent to somebody, and asks no server.
"""

import base64
import hashlib
import html
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from sr_jax.evaluation.scoring import Key, Score, group_scores, mean_distance, mean_scores
from sr_jax.imaging.decoding import decode_size
from sr_jax.imaging.encoding import encode
from sr_jax.storage import write_bytes, write_parts

# In a key, in place of a method: the image in high resolution.
ORIGINAL = ""
# Bytes from which on a page is slow to open, and too long for most mail.
LARGE = 100_000_000

_LONGEST_WEBP = 16383
_ZOOMS = {"0": "fit", "1": "100 %", "2": "200 %", "4": "400 %", "8": "800 %"}
_DISTANCES = {"lpips": "LPIPS", "dists": "DISTS"}
# Nothing of another place, whatever a name in it might hold.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_HERE = Path(__file__)


def keep_image(folder: Path, key: Key, image: np.ndarray) -> None:
    """Writes an image of a page to come, without loss: WebP, or PNG if it is too large for that.

    Args:
        folder: of the page's images.
        key: whose it is; with `ORIGINAL` as the method, the image in high resolution.
        image: uint8 RGB (H, W, 3).

    Raises:
        OSError: the file system refuses.
    """
    kind = "WebP" if max(image.shape) <= _LONGEST_WEBP else "PNG"
    write_bytes(_place(folder, key), encode(image, kind, None))


def has_image(folder: Path, key: Key) -> bool:
    """Whether `keep_image` has written this image."""
    return _place(folder, key).exists()


def write_page(
    path: Path, scores: Sequence[Score], folder: Path, *, round_luma: bool = False
) -> None:
    """Writes the page.

    Args:
        path: the HTML file; it appears whole or not at all.
        scores: of all images, at least one.
        folder: to which `keep_image` has written what was scored, and the originals.
        round_luma: as in `score_image`.

    Raises:
        OSError: an image is missing, or the file system refuses.
    """
    parts = _page(scores, folder, round_luma)
    # What is no UTF-8 in a file's name is shown as a question mark.
    write_parts(path, (part.encode(errors="replace") for part in parts))


def _page(scores: Sequence[Score], folder: Path, round_luma: bool) -> Iterator[str]:
    groups: dict[tuple[str, int], dict[str, list[Score]]] = {}
    for score in scores:
        images = groups.setdefault((score.dataset, score.scale), {})
        images.setdefault(score.image, []).append(score)
    methods = list(dict.fromkeys(score.method for score in scores))
    datasets = html.escape(", ".join(dict.fromkeys(score.dataset for score in scores)))
    rounded = "rounded to 8 bits" if round_luma else "not rounded"
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{datasets}: super-resolution</title>\n"
        f"<style>\n{_HERE.with_suffix('.css').read_text()}</style>\n</head>\n<body>\n"
        f"<h1>{datasets}</h1>\n<p>PSNR and SSIM are of the luma, {rounded}, without a border of "
        "as many pixels as the scale. Images are as they were scored, without loss. Made by "
        "sr_jax.</p>\n<noscript><p>The sliders need JavaScript.</p></noscript>\n"
    )
    yield _means(scores)
    chosen = methods[0], methods[1] if len(methods) > 1 else "original"
    controls = _controls([*methods, "original"], chosen)
    yield f'<form class="controls" id="all"><b>all images</b>{controls}</form>\n<main>\n'
    number = 0
    for (dataset, scale), images in groups.items():
        yield f"<h2>{html.escape(dataset)} x{scale}</h2>\n"
        for image, scored in images.items():
            keys = {score.method: Key(*score[:4]) for score in scored}
            original = Key(dataset, scale, ORIGINAL, image)
            if has_image(folder, original):
                keys["original"] = original
            data = {name: _place(folder, key).read_bytes() for name, key in keys.items()}
            size = decode_size(io.BytesIO(next(iter(data.values()))))
            ids = {name: f"image{number + n}" for n, name in enumerate(data)}
            number += len(ids)
            yield _figure(image, scale, size, scored, ids, chosen)
            for name, content in data.items():
                kind = "webp" if content.startswith(b"RIFF") else "png"
                text = base64.b64encode(content).decode()
                # No program: the browser leaves a type that it does not know alone.
                yield f'<script type="image/{kind}" id="{ids[name]}">{text}</script>\n'
    script = _HERE.with_suffix(".js").read_text()
    yield f"</main>\n<script>\n{script}</script>\n</body>\n</html>\n"


def _means(scores: Sequence[Score]) -> str:
    """The table of means."""
    heads = ["data set", "scale", "method", "images", "PSNR (dB)", "SSIM"]
    groups = group_scores(scores)
    distances = [
        name
        for name in _DISTANCES
        if any(mean_distance(group, name) is not None for group in groups.values())
    ]
    heads += [_DISTANCES[name] for name in distances]
    lines = []
    for group, mean in zip(groups.values(), mean_scores(scores), strict=True):
        psnr = math.inf if mean["psnr"] is None else mean["psnr"]
        cells = [mean["dataset"], f"x{mean['scale']}", mean["method"], f"{mean['images']}"]
        cells += [_decibels(psnr), f"{mean['ssim']:.4f}"]
        far = [mean_distance(group, name) for name in distances]
        cells += ["" if value is None else f"{value:.4f}" for value in far]
        lines.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
    head = "".join(f'<th scope="col">{head}</th>' for head in heads)
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return (
        f'<div class="wide"><table>\n<caption>Means over the images</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n"
    )


def _figure(
    name: str,
    scale: int,
    size: tuple[int, int],
    scores: Iterable[Score],
    ids: Mapping[str, str],
    chosen: tuple[str, str],
) -> str:
    """An image under its slider, without the data.

    Args:
        name, scale: of the image.
        size: height and width.
        scores: of the methods.
        ids: what can be seen -> the element that has its data.
        chosen: what is left and right at first, where it can be.
    """
    height, width = size
    told = {s.method: f"{_decibels(s.psnr)} dB / {s.ssim:.4f}" for s in scores}
    name = html.escape(name)
    return (
        f'<figure style="--w: {width}; --h: {height}" data-name="{name}, x{scale}">\n'
        f"<h3>{name} <small>{width} x {height} pixels</small></h3>\n"
        f'<div class="controls">{_controls(ids, chosen, ids, told)}</div>\n'
        '<div class="view"><div class="scroll" tabindex="0" role="group" '
        f'aria-label="{name}, x{scale}"><div class="stack">'
        '<img class="left" alt="" draggable="false"><img class="right" alt="" draggable="false">'
        '</div></div><span class="tag left" aria-hidden="true"></span>'
        '<span class="tag right" aria-hidden="true"></span>'
        '<input class="divider" type="range" min="0" max="100" step="0.5" value="50" '
        f'aria-label="Divider between left and right, {name}"></div>\n'
        '<figcaption><span class="score left"></span><span class="score right"></span>'
        "</figcaption>\n</figure>\n"
    )


def _controls(
    names: Iterable[str],
    chosen: tuple[str, str],
    ids: Mapping[str, str] | None = None,
    told: Mapping[str, str] | None = None,
) -> str:
    """What is left, what is right, and how large."""
    labels = []
    for side, at_first in zip(("left", "right"), chosen, strict=True):
        options = "".join(
            f'<option value="{html.escape((ids or {}).get(name, name))}" '
            f'data-score="{(told or {}).get(name, "")}"{" selected" * (name == at_first)}>'
            f"{html.escape(name)}</option>"
            for name in names
        )
        labels.append(f'<label>{side} <select class="{side}">{options}</select></label>')
    zooms = "".join(f'<option value="{zoom}">{text}</option>' for zoom, text in _ZOOMS.items())
    return "".join(labels) + f'<label>zoom <select class="zoom">{zooms}</select></label>'


def _decibels(psnr: float) -> str:
    return f"{psnr:.2f}" if math.isfinite(psnr) else "∞"


def _place(folder: Path, key: Key) -> Path:
    # Names may hold what a file's name cannot, or be too long for one.
    return folder / hashlib.sha256(repr(tuple(key)).encode(errors="replace")).hexdigest()
