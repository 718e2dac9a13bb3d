"""The command `view`: what it refuses before it serves anything."""

import sys

import numpy as np
import pytest

from sr_jax.commands.console import run
from sr_jax.commands.view import view
from sr_jax.imaging.files import write_image


@pytest.mark.parametrize(
    ("place", "options", "message"),
    [
        ("nowhere.png", {}, r"cannot read image .*nowhere\.png: no such file"),
        ("broken.png", {}, r"cannot read image .*broken\.png: not a PNG, JPEG"),
        ("empty", {}, "empty holds no image"),
        (None, {"step": 3}, "--step is of a training workdir: give it with --model"),
        (None, {"tile": "big"}, "--tile is 'big', expected auto, none or a number of pixels"),
    ],
)
def test_refusals_come_before_any_work(tmp_path, place, options, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=message):
        view(place and tmp_path / place, **options)


def test_without_the_extra_one_line_says_what_to_install(tmp_path, monkeypatch):
    write_image(tmp_path / "photo.png", np.zeros((8, 8), np.uint8))
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SystemExit) as ended:
        run(lambda: view(tmp_path / "photo.png"))
    assert str(ended.value) == "error: this needs gradio: pip install 'sr-jax[page]'"
