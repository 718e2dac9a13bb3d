"""`sr-jax upscale` of videos: frames, times, colours, sound and the rest, through and back."""

import re
from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV is not installed: the extra video")

from clips import BICUBIC, names  # noqa: E402
from videos import make_video, moving, read_video  # noqa: E402

from sr_jax import weights  # noqa: E402
from sr_jax.commands.upscale import upscale  # noqa: E402
from sr_jax.imaging.encoding import encode  # noqa: E402
from sr_jax.imaging.resize import imresize  # noqa: E402
from sr_jax.imaging.video import VideoFile, is_picture  # noqa: E402
from sr_jax.imaging.yuv import from_rgb  # noqa: E402
from sr_jax.inference.program import compiled  # noqa: E402
from sr_jax.inference.upscaler import upscale_rgb  # noqa: E402

LOSSLESS = {"qp": "0"}


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
