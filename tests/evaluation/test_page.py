"""The page of a benchmark: what it holds, and that it needs nothing else."""

import base64
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from sr_jax.evaluation.page import ORIGINAL, has_image, keep_image, write_page
from sr_jax.evaluation.scoring import Key, Score

NAMES = ["grass", "<script>alert(1)</script>&\"'", "deep/sky", "caf\udce9"]


def picture(seed, shape=(12, 16, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


class Reader(HTMLParser):
    """The texts of table cells, the options of each figure, and what the elements hold."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.figures, self.held, self.tags = [], [], {}, []
        self._open = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.tags.append((tag, named))
        self._open = tag, named
        if tag == "td":
            self.cells.append("")
        elif tag == "figure":
            self.figures.append({"name": named["data-name"], "left": [], "right": []})
        elif tag == "select" and self.figures:
            self._side = named["class"]
        elif tag == "option" and self.figures and self._side != "zoom":
            self.figures[-1][self._side].append(named)

    def handle_data(self, data):
        tag, named = self._open or ("", {})
        if tag == "td":
            self.cells[-1] += data
        elif tag == "script" and "id" in named:
            self.held[named["id"]] = named["type"], base64.b64decode(data)

    def handle_endtag(self, tag):
        self._open = None


@pytest.fixture
def page(tmp_path):
    """A page of four images, two methods each but the last, which has one, and its pictures."""
    scores, images = [], {}
    for method, psnr in {"bicubic": 30.0, "edsr": math.inf}.items():
        for number, name in enumerate(NAMES):
            if (method, number) == ("edsr", 3):
                continue
            key = Key("set <1>", 2, method, name)
            scores.append(Score(*key, psnr + number, 0.5))
            images[key] = picture(len(images))
    for name in NAMES:
        images[Key("set <1>", 2, ORIGINAL, name)] = picture(len(images))
    for key, image in images.items():
        assert not has_image(tmp_path / "kept", key)
        keep_image(tmp_path / "kept", key, image)
        assert has_image(tmp_path / "kept", key)
    write_page(tmp_path / "out.html", scores, tmp_path / "kept")
    return Reader((tmp_path / "out.html").read_text(encoding="utf-8")), images


def test_the_table_has_the_means(page):
    reader, _ = page
    assert reader.cells == [
        *("set <1>", "x2", "bicubic", "4", "31.50", "0.5000"),
        *("set <1>", "x2", "edsr", "3", "∞", "0.5000"),
    ]


def test_each_image_has_its_methods_on_both_sides_without_loss(page):
    reader, images = page
    shown = [f"{name}, x2" for name in [*NAMES[:3], "caf?"]]
    assert [figure["name"] for figure in reader.figures] == shown
    for number, (name, figure) in enumerate(zip(NAMES, reader.figures, strict=True)):
        methods = ["bicubic", ORIGINAL] if number == 3 else ["bicubic", "edsr", ORIGINAL]
        assert figure["left"][0]["data-score"] == f"{30 + number:.2f} dB / 0.5000"
        assert figure["left"][-1]["data-score"] == ""
        for side, chosen in ("left", 0), ("right", 1):
            options = figure[side]
            assert len(options) == len(methods)
            if number < 3:
                assert [n for n, option in enumerate(options) if "selected" in option] == [chosen]
            for option, method in zip(options, methods, strict=True):
                kind, data = reader.held[option["value"]]
                assert kind == "image/webp"
                held = np.asarray(Image.open(io.BytesIO(data)))
                np.testing.assert_array_equal(held, images["set <1>", 2, method, name])


def test_it_runs_its_own_program_alone_and_asks_nobody(page):
    reader, _ = page
    programs = [named for tag, named in reader.tags if tag == "script" and "type" not in named]
    assert programs == [{}]
    assert not [named for _, named in reader.tags if {"src", "href", "srcset"} & set(named)]
    policy = next(
        named["content"]
        for tag, named in reader.tags
        if tag == "meta" and named.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"\b(https?|ftp):|//cdn", str(reader.tags))


def test_an_image_too_long_for_webp_is_png(tmp_path):
    key, long = Key("set", 2, "bicubic", "long"), picture(0, (1, 16384, 3))
    keep_image(tmp_path / "kept", key, long)
    write_page(tmp_path / "out.html", [Score(*key, 30.0, 0.5)], tmp_path / "kept")
    reader = Reader((tmp_path / "out.html").read_text())
    ((kind, data),) = reader.held.values()
    assert kind == "image/png"
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), long)


def test_it_is_whole_or_not_there(tmp_path):
    """The image of the second score is missing, which shows when the first one is written."""
    keys = [Key("set", 2, "bicubic", name) for name in "ab"]
    keep_image(tmp_path / "kept", keys[0], picture(0))
    scores = [Score(*key, 30.0, 0.5) for key in keys]
    with pytest.raises(FileNotFoundError):
        write_page(tmp_path / "out.html", scores, tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
