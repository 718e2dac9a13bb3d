"""`sr-jax upscale` of videos: numbered frames, the network that is chosen, a dry run, refusals."""

import re
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import typer

pytest.importorskip("av", reason="PyAV is not installed: the extra video")

from clips import BICUBIC, Stop, names
from videos import make_video, moving, read_video

from sr_jax.commands.console import run
from sr_jax.commands.upscale import upscale
from sr_jax.imaging.files import write_image

# ------------------------------------------------------------------ numbered frames


@pytest.mark.parametrize(("rate", "step"), [("25", 1), ("30000/1001", 1001), ("12.5", 2)])
def test_numbered_frames_become_a_video(tmp_path, rate, step):
    for number in range(9, 12):
        red = np.full((30, 40, 3), (255, 0, 0), np.uint8)
        write_image(tmp_path / "frames" / f"frame_{number}.png", red)
    film = tmp_path / "film.mp4"
    upscale([tmp_path / "frames"], output=film, rate=rate, quality=100, **BICUBIC)
    after = read_video(film)
    assert (after.rate, after.time_base) == (Fraction(rate), Fraction(rate) ** -1 / step)
    assert after.pts == [0, step, 2 * step]
    assert (after.pixels, after.tags, after.sound) == ("yuv420p", (1, 1, 1, 13), [])
    for planes in after.planes:
        assert [np.unique(plane).tolist() for plane in planes] == [[63], [102], [240]]


def test_the_network_is_chosen_by_the_content(tmp_path, monkeypatch, capsys):
    clip = make_video(tmp_path / "clip.mp4", frames=2)
    for number in range(2):
        write_image(tmp_path / "frames" / f"{number}.png", moving(number))

    def chosen(*_):
        raise Stop

    monkeypatch.setattr("sr_jax.commands.video.open_enlarger", chosen)
    with pytest.raises(Stop):
        upscale([clip])
    with pytest.raises(Stop):
        upscale([tmp_path / "frames"], output=tmp_path / "film.mp4", rate="25")
    first, second = capsys.readouterr().out.splitlines()
    assert re.match(r"clip\.mp4: edsr_photo_x2, made for JPEG, which videos resemble", first)
    assert re.match(r"0\.png: \w+_x2, made for clean images", second)


def test_a_dry_run_tells_frames_and_seconds(tmp_path, model, capsys):
    clip = make_video(tmp_path / "clip.mp4", frames=3)
    (tmp_path / "clip_x2.mp4").touch()
    upscale([clip], model=model, dry_run=True)
    assert re.search(
        r": 48 x 32 to 96 x 64 pixels; 1 tile of 48 x 32 .* s here and what compiling takes; "
        r"3 frames, 23.976 frames a second: \d+ s in all\n$",
        capsys.readouterr().out,
    )
    assert names(tmp_path) == ["clip.mp4", "clip_x2.mp4"]


# ------------------------------------------------------------------ refused


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a video, frames and a picture, in which the command is typed."""
    monkeypatch.chdir(tmp_path)
    make_video(Path("clip.mp4"), frames=2)
    make_video(Path("tta.mkv"), frames=2, sound="tta")
    for number in range(2):
        write_image(Path("frames") / f"{number}.png", moving(number))
    return tmp_path


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (["clip.mp4"], {"file_format": "png"}, "--format is for images, not for videos: leave it"),
        (["clip.mp4"], {"comparison": Path("a.png"), "model": None}, "--comparison is for images"),
        (["clip.mp4"], {"alpha": "network"}, "--alpha is for images"),
        (["clip.mp4"], {"bucket": True}, "--bucket is for images"),
        (["clip.mp4"], {"rate": "25"}, "--rate is for folders of frames, but clip.mp4 has times"),
        (["clip.mp4", "tta.mkv"], {}, "one video or one folder .*, and 2 inputs are given"),
        (["clip.mp4", "frames"], {"output": Path("a.mkv")}, "and 2 inputs are given"),
        (["none.mp4"], {}, "^cannot read video none.mp4: no such file$"),
        (["clip.mp4"], {"output": Path("clip.mp4")}, "would replace the input clip.mp4"),
        (["clip.mp4"], {"output": Path("a.webm")}, "expected a video in .mp4, .m4v, .mov, .mkv"),
        (["clip.mp4"], {"output": Path("a.png")}, "--output is a.png, expected a video in"),
        (["clip.mp4"], {"output": Path("gs://a/b.mp4")}, "is no path of this machine"),
        (["clip.mp4"], {"output": Path("a.mp4"), "suffix": "_b"}, "--suffix is for folders"),
        (["clip.mp4"], {"scale": 1000}, "cannot encode the video"),
        (["tta.mkv"], {"output": Path("a.mp4")}, r"cannot hold the sound .* an output in \.mkv"),
        (["frames"], {"output": Path("a.mp4")}, "give --rate, how many frames of frames last"),
        (["frames"], {"output": Path("a.mp4"), "rate": "0"}, "--rate is '0', expected frames a"),
        (["frames"], {"output": Path("a.mp4"), "rate": "1/0"}, "--rate is '1/0', expected"),
        (["frames"], {"output": Path("a.mp4"), "rate": "fast"}, "--rate is 'fast', expected"),
        (["frames"], {"output": Path("a.mp4"), "rate": "2000"}, "--rate is '2000', expected"),
        (["frames"], {"output": Path("out"), "rate": "25"}, "--rate is for a video made of frames"),
        (["frames/0.png"], {"output": Path("a.mp4"), "rate": "25"}, "frames/0.png is neither one"),
    ],
)
def test_refused(place, inputs, options, message):
    before = sorted(place.rglob("*"))
    with pytest.raises(ValueError, match=message) as caught:
        upscale([Path(path) for path in inputs], **{**BICUBIC, **options})
    assert "\n" not in str(caught.value)
    assert sorted(place.rglob("*")) == before


def test_a_video_among_images_costs_itself_alone(place, capsys):
    with pytest.raises(typer.Exit):
        upscale([Path("clip.mp4"), Path("frames")], output=Path("out"), **BICUBIC)
    assert "cannot read image clip.mp4" in capsys.readouterr().err
    assert {"0.png", "1.png"} < set(names(place / "out"))


def test_a_missing_extra_is_one_line(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SystemExit) as caught:
        run(lambda: upscale([Path("clip.mp4")], **BICUBIC))
    assert caught.value.code == "error: this needs av: pip install 'sr-jax[video]'"
