"""`sr-jax upscale` of videos: through and back, interrupted, from numbered frames, refused."""

import os
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import typer

av = pytest.importorskip("av", reason="PyAV is not installed: the extra video")

from videos import make_video, moving, read_video  # noqa: E402

from sr_jax import weights  # noqa: E402
from sr_jax.commands.console import run  # noqa: E402
from sr_jax.commands.parts import Parts  # noqa: E402
from sr_jax.commands.upscale import upscale  # noqa: E402
from sr_jax.imaging.encoding import encode  # noqa: E402
from sr_jax.imaging.files import write_image  # noqa: E402
from sr_jax.imaging.resize import imresize  # noqa: E402
from sr_jax.imaging.video import VideoFile, is_picture  # noqa: E402
from sr_jax.imaging.yuv import from_rgb  # noqa: E402
from sr_jax.inference.program import compiled  # noqa: E402
from sr_jax.inference.upscaler import upscale_rgb  # noqa: E402

BICUBIC = {"model": "bicubic", "scale": 2}
LOSSLESS = {"qp": "0"}


class Stop(BaseException):
    """As Ctrl-C, but one that pytest takes for a test's own."""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------ through and back


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov", "clip.mkv"])
def test_a_video_of_60_frames_with_sound(tmp_path, name, capsys):
    kept = {"tags": {"colorspace": 5, "color_primaries": 5, "color_trc": 6}, "turned": 90}
    clip = make_video(tmp_path / name, aspect=Fraction(16, 15), **kept)
    upscale([clip], **BICUBIC)
    target = clip.with_stem("clip_x2")
    assert names(tmp_path) == sorted([name, target.name])
    before, after = read_video(clip), read_video(target)
    assert after.pts == before.pts
    assert len(after.pts) == 60
    assert after[2:] == before[2:]  # time base, rate, aspect, rotation, format, tags and sound
    assert len(before.sound) > 100
    for old, new in zip(before.planes, after.planes, strict=True):
        assert [plane.shape for plane in new] == [(64, 96), (32, 48), (32, 48)]
        # A wrong range moves the luma by up to 16 codes and a wrong matrix the chroma by about as
        # much; interpolation and x264 move the mean of a picture by less than one.
        np.testing.assert_allclose(*([p.mean() for p in side] for side in (new, old)), atol=1)
    out = capsys.readouterr().out
    assert re.search(r"^60 frames written to .* in \d+\.\d s \(\d+\.\d\d frames/s\)$", out)


@pytest.mark.parametrize(
    ("pixels", "tags", "codes"),
    [
        ("yuv420p", {"colorspace": 1, "color_range": 1}, (63, 102, 240)),
        ("yuv420p", {"colorspace": 1, "color_range": 2}, (54, 99, 255)),
        ("yuv422p", {"colorspace": 6, "color_range": 1}, (81, 90, 240)),
        ("yuv444p", {"colorspace": 6, "color_range": 2}, (76, 85, 255)),
        ("yuv420p10le", {"colorspace": 9, "color_range": 1, "color_trc": 14}, (294, 387, 960)),
        ("yuv420p", {"colorspace": 2, "color_range": 0}, (81, 90, 240)),
    ],
)
def test_red_stays_red(tmp_path, pixels, tags, codes):
    def red(_):
        frame = av.VideoFrame(48, 32, pixels)
        for plane, code in zip(frame.planes, codes, strict=True):
            wide = "10" in pixels
            np.frombuffer(plane, np.uint16 if wide else np.uint8)[:] = code
        return frame

    kind = {"pixels": pixels, "tags": tags, "options": LOSSLESS, "sound": None}
    clip = make_video(tmp_path / "red.mp4", frames=2, picture=red, **kind)
    upscale([clip], quality=100, **BICUBIC)
    before, after = read_video(clip), read_video(tmp_path / "red_x2.mp4")
    assert after.pixels == before.pixels
    # What was not said is said: a larger video is else taken for BT.709.
    assert after.tags == (before.tags if tags["color_range"] else (6, 1, *before.tags[2:]))
    for planes in after.planes:
        # Codes are rounded; colours at the border of what RGB holds are clipped, too.
        for plane, code in zip(planes, codes, strict=True):
            np.testing.assert_allclose(plane.astype(int), code, atol=1)


def test_every_frame_goes_through_the_network(tmp_path, model):
    """Without loss, in 4:4:4: pixel for pixel what the library computes, by one program."""
    kind = {"pixels": "yuv444p", "options": LOSSLESS}
    clip = make_video(tmp_path / "clip.mkv", frames=30, **kind)
    compiled.cache_clear()
    upscale([clip], model=model, quality=100, output=tmp_path / "large" / "film.mkv")
    assert compiled.cache_info().misses == 1
    after = read_video(tmp_path / "large" / "film.mkv")
    network = weights.load(model)
    frames = VideoFile(clip).frames(0)
    for frame, planes in zip(frames, after.planes, strict=True):
        expected = from_rgb(upscale_rgb(*network, frame.rgb, 2), 1, False, 8)
        np.testing.assert_array_equal(np.stack(planes), expected)


def test_times_may_be_anything(tmp_path):
    rng = np.random.default_rng(0)
    times = sorted(rng.choice(np.arange(900, 200_000), 30, replace=False).tolist())
    clip = make_video(tmp_path / "clip.mp4", frames=30, times=times, time_base=Fraction(1, 90000))
    upscale([clip], **BICUBIC)
    before, after = read_video(clip), read_video(tmp_path / "clip_x2.mp4")
    assert after.pts == before.pts
    assert np.diff(after.pts).tolist() == np.diff(times).tolist()
    assert (after.time_base, after.sound) == (before.time_base, before.sound)


def test_odd_sides_lose_their_last_row_and_column(tmp_path, capsys):
    frame = av.VideoFrame.from_ndarray(moving(0, 47, 31), format="rgb24")
    clip = make_video(
        tmp_path / "clip.mkv",
        **{"frames": 2, "codec": "ffv1", "size": (47, 31), "sound": None},
        picture=lambda _: frame.reformat(format="yuv420p", dst_colorspace=1, dst_color_range=1),
    )
    upscale([clip], model="bicubic", scale=3, quality=100)
    assert "of 141 x 93 pixels 140 x 92 are kept: 4:2:0 and" in capsys.readouterr().out
    large = imresize(next(VideoFile(clip).frames(0)).rgb, size=(93, 141))
    luma = read_video(tmp_path / "clip_x3.mkv").planes[0][0]
    np.testing.assert_array_equal(luma, from_rgb(large, 1, False, 8)[0, :92, :140])


def test_other_containers_become_matroska(tmp_path, capsys):
    clip = make_video(
        tmp_path / "clip.avi",
        frames=3,
        codec="mjpeg",
        pixels="yuvj420p",
        sound="mp2",
        tags={"color_range": 2},
    )
    upscale([clip], **BICUBIC, suffix="_large")
    before, after = read_video(clip), read_video(tmp_path / "clip_large.mkv")
    assert (after.pts, after.tags[:2]) == ([0, 42, 83], (5, 2))
    assert [content for content, _ in after.sound] == [content for content, _ in before.sound]


def test_the_sound_may_come_first(tmp_path):
    plain, clip = make_video(tmp_path / "plain.mp4"), tmp_path / "clip.mp4"
    with av.open(str(plain)) as old, av.open(str(clip), "w") as new:
        streams = [old.streams.audio[0], old.streams.video[0]]
        copies = {s.index: new.add_stream_from_template(s, opaque=True) for s in streams}
        for packet in old.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                new.mux(packet)
    upscale([clip], **BICUBIC)
    before, after = read_video(clip), read_video(tmp_path / "clip_x2.mp4")
    assert (after.pts, after.sound) == (before.pts, before.sound)
    assert len(after.pts) == 60
    with av.open(str(tmp_path / "clip_x2.mp4")) as file:
        assert [stream.type for stream in file.streams] == ["audio", "video"]


def rich_video(path):
    """Subtitles, chapters, a font, names, and a second video."""
    plain = make_video(path.with_name("plain.mkv"), frames=24)
    with av.open(str(plain)) as old, av.open(str(path), "w") as new:
        copies = [new.add_stream_from_template(stream, opaque=True) for stream in old.streams]
        copies[1].metadata["language"] = "deu"
        words = new.add_mux_stream("subrip")
        second = new.add_stream_from_template(old.streams.video[0], opaque=True)
        new.add_attachment("letters.ttf", "font/ttf", b"shapes")
        new.metadata.update(title="Tür", mood="calm")
        chapter = {"start": 0, "end": 500, "time_base": Fraction(1, 1000)}
        new.set_chapters([{"id": 1, **chapter, "metadata": {"title": "one"}}])
        for packet in old.demux():
            if packet.size:
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts = packet.pts, packet.dts
                copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
                packet.stream = copies[packet.stream_index]
                new.mux(packet)
                if packet.stream is copies[0]:
                    copy.stream = second
                    new.mux(copy)
        line = av.Packet(b"Good day")
        line.pts = line.dts = 100
        line.duration, line.time_base, line.stream = 300, Fraction(1, 1000), words
        new.mux(line)
    return path


def test_what_is_copied_and_what_is_told(tmp_path, capsys):
    clip = rich_video(tmp_path / "clip.mkv")
    upscale([clip], **BICUBIC)
    out = capsys.readouterr().out
    assert re.findall(r"^left out of .*clip\.mkv: (.*)$", out, re.M) == ["stream 3 (video, h264)"]
    with av.open(str(tmp_path / "clip_x2.mkv")) as file:
        kinds = [stream.type for stream in file.streams]
        assert sorted(kinds) == ["attachment", "audio", "subtitle", "video"]
        assert file.metadata["title"] == "Tür"
        assert file.streams.audio[0].language == "deu"
        assert file.streams.attachments[0].data == b"shapes"
        assert file.chapters()[0]["metadata"] == {"title": "one"}
        lines = [bytes(packet) for packet in file.demux(subtitles=0) if packet.size]
        assert lines == [b"Good day"]
    upscale([clip], **BICUBIC, output=tmp_path / "clip.mp4")
    out = capsys.readouterr().out
    left = re.findall(r"^left out of .*clip\.mkv: (.*)$", out, re.M)
    streams = ["2 (subtitle, srt)", "3 (video, h264)", "4 (attachment, letters.ttf)"]
    assert left == [*(f"stream {what}" for what in streams), "metadata MOOD"]
    with av.open(str(tmp_path / "clip.mp4")) as file:
        assert file.metadata["title"] == "Tür"
        assert len(file.streams.audio) == 1


def test_a_cover_picture_is_copied(tmp_path):
    plain, clip = make_video(tmp_path / "plain.mp4", frames=2), tmp_path / "clip.mp4"
    content = encode(np.zeros((4, 4, 3), np.uint8), "PNG", None)
    with av.open(str(plain)) as old, av.open(str(clip), "w") as new:
        cover = new.add_mux_stream("png", width=4, height=4)
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.Packet(content)
        picture.stream, picture.pts, picture.dts, picture.is_keyframe = cover, 0, 0, True
        copies = [new.add_stream_from_template(stream, opaque=True) for stream in old.streams]
        new.mux(picture)
        for packet in old.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                new.mux(packet)
    upscale([clip], **BICUBIC)
    with av.open(str(tmp_path / "clip_x2.mp4")) as file:
        (picture,) = (stream for stream in file.streams.video if is_picture(stream))
        assert bytes(next(file.demux(picture))) == content
    with av.open(str(tmp_path / "clip_x2.mp4")) as file:
        (video,) = (stream for stream in file.streams.video if not is_picture(stream))
        assert [frame.width for frame in file.decode(video)] == [96, 96]


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


# ------------------------------------------------------------------ interrupted


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
    assert "going on: 24 frames are done; --overwrite does them anew\n" in capsys.readouterr().out
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
