"""`sr-jax upscale` of videos: interrupted, killed, gone on with, and what is kept."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("av", reason="PyAV is not installed: the extra video")

from clips import BICUBIC, Stop, names
from videos import make_video, moving, read_video

from sr_jax.commands.parts import Parts
from sr_jax.commands.upscale import upscale
from sr_jax.imaging.files import write_image
from sr_jax.inference.program import compiled


def stopping(monkeypatch, frames):
    """The network stops after so many frames; calls that undo that, and count."""
    from sr_jax.imaging import resize

    imresize, done = resize.imresize, []

    def stop(*arguments, **options):
        if len(done) == frames:
            raise Stop
        done.append(1)
        return imresize(*arguments, **options)

    monkeypatch.setattr(resize, "imresize", stop)
    return done


def test_an_interrupted_video_goes_on(tmp_path, monkeypatch, capsys):
    clip = make_video(tmp_path / "clip.mp4")
    whole, parts = tmp_path / "whole.mp4", tmp_path / ".clip_x2.mp4.parts"
    upscale([clip], output=whole, **BICUBIC)
    with monkeypatch.context() as patch:
        stopping(patch, 30)
        with pytest.raises(Stop):
            upscale([clip], **BICUBIC)
    assert names(parts) == ["00000000.h264", "journal.jsonl", "lock"]
    assert not (tmp_path / "clip_x2.mp4").exists()
    with pytest.raises(ValueError, match="is of an unfinished run with other options, or of an in"):
        upscale([clip], model="bicubic", scale=2, quality=50)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        done = stopping(patch, 60)
        upscale([clip], **BICUBIC)
    assert len(done) == 36
    assert (
        "going on (frames done before: 24); --overwrite does them anew\n" in capsys.readouterr().out
    )
    assert names(tmp_path) == ["clip.mp4", "clip_x2.mp4", "whole.mp4"]
    first, second = read_video(whole), read_video(tmp_path / "clip_x2.mp4")
    assert first[1:] == second[1:]
    np.testing.assert_array_equal(
        *(
            [np.concatenate([p.ravel() for p in planes]) for planes in v.planes]
            for v in (first, second)
        )
    )


def test_with_less_memory_it_goes_on_with_the_same_program(tmp_path, model, monkeypatch):
    from sr_jax.inference import upscaler

    clip = make_video(tmp_path / "clip.mp4", frames=30)
    real, done = upscaler.upscale_rgb, []

    def stop(*arguments):
        done.append(1)
        if len(done) == 28:
            raise Stop
        return real(*arguments)

    monkeypatch.setattr(upscaler, "upscale_rgb", stop)
    compiled.cache_clear()
    with pytest.raises(Stop):
        upscale([clip], model=model)
    monkeypatch.setattr("sr_jax.inference.layout.largest_tile", lambda *_: (32, 1024, "less"))
    upscale([clip], model=model)
    assert len(done) == 28 + 6
    assert compiled.cache_info().misses == 1


def test_a_video_that_changed_is_not_gone_on_with(tmp_path, monkeypatch):
    clip = make_video(tmp_path / "clip.mp4")
    with monkeypatch.context() as patch:
        stopping(patch, 30)
        with pytest.raises(Stop):
            upscale([clip], **BICUBIC)
    make_video(clip, frames=26)
    with pytest.raises(
        ValueError, match="or of an input that has changed since: give those options"
    ):
        upscale([clip], **BICUBIC)
    upscale([clip], **BICUBIC, overwrite=True)
    assert len(read_video(tmp_path / "clip_x2.mp4").pts) == 26


def test_of_frames_that_changed_their_piece_is_done_anew(tmp_path, monkeypatch):
    for number in range(60):
        write_image(tmp_path / "in" / f"{number}.png", moving(number))
    arguments = {"output": tmp_path / "film.mkv", "rate": "25", **BICUBIC}
    with monkeypatch.context() as patch:
        stopping(patch, 50)
        with pytest.raises(Stop):
            upscale([tmp_path / "in"], **arguments)
    write_image(tmp_path / "in" / "30.png", np.zeros((32, 48, 3), np.uint8))
    with monkeypatch.context() as patch:
        done = stopping(patch, 60)
        upscale([tmp_path / "in"], **arguments)
    assert len(done) == 36
    after = read_video(tmp_path / "film.mkv")
    assert len(after.pts) == 60
    assert [planes[0].max() < 25 for planes in after.planes].index(True) == 30


def test_what_is_there_is_kept(tmp_path, monkeypatch):
    clip = make_video(tmp_path / "clip.mp4", frames=30)
    target = tmp_path / "clip_x2.mp4"
    target.write_text("mine")
    with pytest.raises(ValueError, match=r"clip_x2\.mp4 exists and is not of an unfinished run"):
        upscale([clip], **BICUBIC)
    with monkeypatch.context() as patch:
        stopping(patch, 28)
        with pytest.raises(Stop):
            upscale([clip], **BICUBIC, overwrite=True)
    assert target.read_text() == "mine"
    upscale([clip], **BICUBIC)  # goes on with what --overwrite has begun
    assert len(read_video(target).pts) == 30


def test_a_video_that_fails_leaves_nothing(tmp_path, monkeypatch):
    clip = make_video(tmp_path / "clip.mp4", frames=3)

    def broken(image, **_):
        return np.full((64, 96, 3), np.nan)

    monkeypatch.setattr("sr_jax.imaging.resize.imresize", broken)
    with pytest.raises(ValueError, match=r"^cannot upscale .*clip\.mp4: a frame holds NaN"):
        upscale([clip], **BICUBIC)
    assert names(tmp_path) == ["clip.mp4"]


def test_one_process_is_at_work_on_a_video(tmp_path):
    clip = make_video(tmp_path / "clip.mp4", frames=3)
    parts = Parts(tmp_path / "clip_x2.mp4", lambda *_: [], {}, anew=False)
    with (
        parts.at_work(),
        pytest.raises(ValueError, match=r"another process is at work on .*clip_x2\.mp4"),
    ):
        upscale([clip], **BICUBIC, overwrite=True)


@pytest.mark.slow
def test_a_killed_process_goes_on(tmp_path):
    """SIGKILL, wherever it strikes, costs the pieces that were not done."""
    clip = make_video(tmp_path / "clip.mp4", frames=600)
    command = [sys.executable, "-m", "sr_jax", "upscale", str(clip), "--model", "bicubic"]
    command += ["--scale", "2"]
    subprocess.run([*command, "--output", str(tmp_path / "whole.mp4")], check=True)
    parts, target = tmp_path / ".clip_x2.mp4.parts", tmp_path / "clip_x2.mp4"
    kills = 0
    while not target.exists():
        before = len(list(parts.glob("*.h264")))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        while process.poll() is None and len(list(parts.glob("*.h264"))) < before + 8:
            time.sleep(0.01)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        out, _ = process.communicate()
        assert ("going on" in out) == (before > 0) or process.returncode == -signal.SIGKILL
    assert kills >= 2
    first, second = read_video(tmp_path / "whole.mp4"), read_video(target)
    assert first[1:] == second[1:]
    for old, new in zip(first.planes, second.planes, strict=True):
        np.testing.assert_array_equal(old[0], new[0])
    assert names(tmp_path) == ["clip.mp4", "clip_x2.mp4", "whole.mp4"]
