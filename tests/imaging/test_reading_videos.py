"""Videos as frames: colours, times, and everything that is refused."""

import re
from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV is not installed: the extra video")

from videos import RATE, make_video, moving  # noqa: E402

from sr_jax.imaging.files import write_image  # noqa: E402
from sr_jax.imaging.numbered import NumberedFrames  # noqa: E402
from sr_jax.imaging.video import VideoFile  # noqa: E402
from sr_jax.imaging.yuv import frame_of  # noqa: E402

LOSSLESS = {"qp": "0"}


def nothing():
    return None


def flat(codes, pixels, width=48, height=32):
    """Pictures of one colour, by its codes."""
    wide = "10" in pixels
    planes = [np.full((height, width), code, np.uint16 if wide else np.uint8) for code in codes]
    frame = frame_of(planes, "yuv444p10le" if wide else "yuv444p")
    return lambda _: frame.reformat(format=pixels)


# ------------------------------------------------------------------ colours


@pytest.mark.parametrize(
    ("pixels", "tags", "codes"),
    [
        ("yuv420p", {"colorspace": 1, "color_range": 1}, (63, 102, 240)),
        ("yuv420p", {"colorspace": 6, "color_range": 1}, (81, 90, 240)),
        ("yuv420p", {"colorspace": 6, "color_range": 2}, (76, 85, 255)),
        ("yuv444p", {"colorspace": 1, "color_range": 1}, (63, 102, 240)),
        ("yuv420p10le", {"colorspace": 9, "color_range": 1, "color_trc": 14}, (294, 387, 960)),
    ],
)
def test_red_is_seen_as_red(tmp_path, pixels, tags, codes):
    """With the wrong matrix or range it would be off by 0.05 and more."""
    path = tmp_path / "red.mp4"
    kind = {"pixels": pixels, "tags": tags, "options": LOSSLESS, "sound": None}
    make_video(path, frames=2, picture=flat(codes, pixels), **kind)
    video = VideoFile(path)
    assert not video.notes
    for frame in video.frames(0):
        # Half a code of 8 bits, which chroma counts nearly twice: see test_yuv.py.
        np.testing.assert_allclose(frame.rgb, np.full((32, 48, 3), (1, 0, 0)), atol=0.007)


@pytest.mark.parametrize(
    ("codec", "pixels", "written"),
    [
        ("ffv1", "bgr0", "yuv444p"),
        ("ffv1", "gbrp10le", "yuv444p10le"),
        ("qtrle", "rgb24", "yuv444p"),
        ("ffv1", "gray", "yuv420p"),
        ("ffv1", "yuv422p12le", "yuv422p10le"),
        ("ffv1", "yuv410p", "yuv420p"),
        ("mjpeg", "yuvj420p", "yuv420p"),
    ],
)
def test_other_pixels_are_told_and_seen_right(tmp_path, codec, pixels, written):
    full = {"color_range": 2} if pixels in ("gray", "yuvj420p") else {}
    grey = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 200, np.uint8), format="rgb24")
    limited = grey.reformat(format=pixels, dst_colorspace=1, dst_color_range=1 + bool(full))
    path = tmp_path / "film.mov"
    make_video(
        path if codec == "qtrle" else path.with_suffix(".mkv"),
        frames=2,
        codec=codec,
        pixels=pixels,
        picture=lambda _: limited,
        tags=full,
        sound=None,
    )
    video = VideoFile(next(tmp_path.iterdir()))
    assert video.look.pixels == written
    tolerance = 2 if codec == "mjpeg" else 1  # codes, for what JPEG loses
    np.testing.assert_allclose(next(video.frames(0)).rgb, 200 / 255, atol=tolerance / 219)
    assert bool(video.notes) == (pixels not in ("yuv410p", "yuvj420p"))


@pytest.mark.parametrize(
    ("size", "matrix"), [((48, 32), 6), ((1280, 32), 1), ((48, 576), 6), ((48, 578), 1)]
)
def test_a_matrix_that_is_not_said_follows_the_size(tmp_path, size, matrix):
    tags = {"colorspace": 2, "color_primaries": 2, "color_trc": 2, "color_range": 0}
    frame = av.VideoFrame(*size, "yuv420p")
    make_video(tmp_path / "a.mkv", frames=1, size=size, tags=tags, picture=lambda _: frame)
    video = VideoFile(tmp_path / "a.mkv")
    assert (video.look.matrix, video.look.full) == (matrix, False)
    assert re.search(r"a\.mkv does not say its colour matrix: by its size BT", video.notes[0])


# ------------------------------------------------------------------ times


def test_times_and_frames_from_any_frame_on(tmp_path):
    times = [0, 7, 300, 301, 1000]
    path = make_video(
        tmp_path / "a.mp4", frames=5, times=times, time_base=Fraction(1, 90000), options=LOSSLESS
    )
    video = VideoFile(path)
    assert video.look.time_base == Fraction(1, 90000)
    assert video.count(nothing) == 5
    whole = list(video.frames(0))
    assert [frame.pts for frame in whole] == times
    late = list(video.frames(3))
    assert [frame.pts for frame in late] == times[3:]
    np.testing.assert_array_equal(late[0].rgb, whole[3].rgb)


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"options": {"x264-params": "tff=1"}}, r"is interlaced \(frame 0\): deinterlace it first"),
        (
            {"pixels": "yuv420p10le", "tags": {"colorspace": 9, "color_trc": 16}},
            r"is HDR \(PQ\).*: convert it to SDR first",
        ),
        ({"pixels": "yuv420p10le", "tags": {"color_trc": 18}}, r"is HDR \(HLG\)"),
        ({"codec": "ffv1", "pixels": "yuva420p"}, "has opacity, which H.264 does not hold"),
        ({"codec": "ffv1", "pixels": "bgra"}, "has opacity, which H.264 does not hold"),
        ({"codec": "libvpx-vp9", "pixels": "yuva420p", "sound": None}, "has opacity"),
        ({"codec": "ffv1", "pixels": "gray"}, r"grey of limited range \(gray\) is not supported"),
        (
            {"tags": {"colorspace": 8}, "picture": lambda _: av.VideoFrame(48, 32)},
            r"matrix \(number 8\) is not supported",
        ),
    ],
)
def test_videos_that_are_not_understood(tmp_path, options, message):
    path = make_video(tmp_path / "a.mkv", frames=2, **options)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}\W.*{message}"):
        VideoFile(path)


@pytest.mark.parametrize("content", [b"", b"no video" * 1000])
def test_files_that_are_no_video(tmp_path, content):
    path = tmp_path / "a.mp4"
    with pytest.raises(ValueError, match=r"^cannot read video .*a\.mp4: no such file$"):
        VideoFile(path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^cannot read video .*a\.mp4: Invalid data found"):
        VideoFile(path)


def test_sound_alone_is_no_video(tmp_path):
    path = make_video(tmp_path / "a.mkv", frames=2)
    with av.open(str(path)) as old, av.open(str(tmp_path / "b.mkv"), "w") as new:
        copy = new.add_stream_from_template(old.streams.audio[0])
        for packet in old.demux(audio=0):
            if packet.size:
                packet.stream = copy
                new.mux(packet)
    with pytest.raises(ValueError, match=r"b\.mkv holds no video"):
        VideoFile(tmp_path / "b.mkv")


FASTSTART = {"movflags": "faststart"}


def packets_of(path):
    with av.open(str(path)) as file:
        return [(packet.pos, packet.size) for packet in file.demux(video=0) if packet.size]


@pytest.mark.parametrize("offset", [6, 60])
def test_damage_is_seen_before_any_work(tmp_path, offset):
    """Of the first kind the decoder makes an error, of the second a frame that it doubts."""
    path = make_video(tmp_path / "a.mp4")
    content = bytearray(path.read_bytes())
    place, _ = packets_of(path)[30]
    noise = np.random.default_rng(0).integers(0, 256, 20, np.uint8).tobytes()
    content[place + offset : place + offset + 20] = noise
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.mp4: frame \d+ is damaged \(.*\): repair the video"):
        VideoFile(path).count(nothing)


def test_of_a_video_cut_within_a_frame_what_is_whole_is_taken(tmp_path):
    """As a download that was broken off, of an MP4 file with its index in front."""
    whole, path = make_video(tmp_path / "whole.mp4"), tmp_path / "a.mp4"
    with av.open(str(whole)) as old, av.open(str(path), "w", options=FASTSTART) as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = copy
                new.mux(packet)
    place, size = packets_of(path)[40]
    with path.open("r+b") as file:
        file.truncate(place + size // 2)
    video = VideoFile(path)
    count = video.count(nothing)
    assert 30 < count < 42
    # A decoder of several threads does not say that its last frame was damaged.
    assert any("breaks off" in note or "the rest is missing" in note for note in video.notes)
    assert len([*video.frames(0)]) == count


@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_an_end_that_is_missing_is_told(tmp_path, name):
    path = make_video(tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    video = VideoFile(path)
    assert 0 < video.count(nothing) < 60
    # A transport stream says nowhere how long it should be.
    assert [bool(re.search(r"ends at \d\.\d s, but should at 2\.5 s", n)) for n in video.notes] == (
        [True] if name == "a.mkv" else []
    )


def test_a_recording_that_begins_between_frames(tmp_path):
    path = make_video(tmp_path / "a.ts", options={"g": "10", "crf": "5"})
    content = path.read_bytes()
    start = len(content) // 4 // 188 * 188
    path.write_bytes(content[start:])
    video = VideoFile(path)
    frames = video.count(nothing)
    assert 20 < frames < 50
    assert len(list(video.frames(0))) == frames


def remuxed(path, target, times):
    """The video with other times."""
    with av.open(str(path)) as old, av.open(str(target), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0], opaque=True)
        packets = (packet for packet in old.demux(video=0) if packet.size)
        for packet, time in zip(packets, times, strict=True):
            packet.stream, packet.pts, packet.dts = copy, time, time
            new.mux(packet)
    return target


def test_frames_at_one_time(tmp_path):
    path = make_video(tmp_path / "a.mkv", codec="ffv1", frames=4, sound=None)
    video = VideoFile(remuxed(path, tmp_path / "b.mkv", [0, 40, 40, 80]))
    with pytest.raises(ValueError, match=r"b\.mkv: frame 2 is not later than the one before"):
        video.count(nothing)


def test_frames_that_change_their_size(tmp_path):
    path = tmp_path / "a.ts"
    with av.open(str(path), "w") as file:
        stream = file.add_mux_stream("h264", rate=25, width=48, height=32)
        for number, (width, height) in enumerate([(48, 32), (64, 48)]):
            context = av.CodecContext.create("libx264", "w")
            context.width, context.height, context.pix_fmt = width, height, "yuv420p"
            context.time_base = Fraction(1, 25)
            frame = av.VideoFrame(width, height, "yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            for packet in [*context.encode(frame), *context.encode()]:
                packet.stream = stream
                file.mux(packet)
    with pytest.raises(ValueError, match=r"frame 1 is 64 x 48 yuv420p, the first one 48 x 32 yuv"):
        VideoFile(path).count(nothing)


# ------------------------------------------------------------------ numbered frames


def write_frames(folder, numbers, name="frame_{:04}.png", dtype=np.uint8):
    for number in numbers:
        image = moving(number).astype(dtype) * (257 if dtype == np.uint16 else 1)
        write_image(folder / name.format(number), image)
    return folder


@pytest.mark.parametrize("name", ["frame_{:04}.png", "{}.PNG", "take 2, {}.png"])
def test_numbered_frames_come_in_the_order_of_their_numbers(tmp_path, name):
    write_frames(tmp_path, range(8, 12), name)
    (tmp_path / "Thumbs.db").touch()
    frames = NumberedFrames(tmp_path, RATE)
    assert frames.notes == [f"left out of {tmp_path}: hidden: Thumbs.db"]
    assert (frames.count(nothing), frames.look.time_base) == (4, 1 / RATE)
    assert (frames.look.pixels, frames.look.matrix, frames.look.full) == ("yuv420p", 1, False)
    for number, frame in enumerate(frames.frames(0)):
        assert (frame.pts, frame.duration) == (number, 1)
        np.testing.assert_allclose(frame.rgb, moving(8 + number) / 255, atol=1e-6)


def test_deep_frames_become_10_bits(tmp_path):
    frames = NumberedFrames(write_frames(tmp_path, range(2), dtype=np.uint16), RATE)
    assert frames.look.pixels == "yuv420p10le"


def rgb(*shape, dtype=np.uint8):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("frame_0005.png", rgb(32, 48, 3), "frame 3 is missing between frame_0002.png and frame_0"),
        ("frame_2.png", rgb(32, 48, 3), r"frame_\d+\.png and .*frame_\d+\.png both are frame 2"),
        ("frame_0003.png", rgb(30, 48, 3), r"frame_0003\.png is 48 x 30, but frame_0000.* 48 x 32"),
        ("frame_0003.jpg", rgb(32, 48, 3), "differ in more than their numbers"),
        ("other_0003.png", rgb(32, 48, 3), "differ in more than their numbers"),
        ("more/frame_0003.png", rgb(32, 48, 3), "differ in more than their numbers"),
        ("cover.png", rgb(32, 48, 3), r"cover\.png has no number at the end of its name"),
        ("notes.txt", b"", r"notes\.txt lies among frames and is no image: move it elsewhere"),
        ("frame_0003.png", b"no image", r"frame_0003\.png: unknown format|frame_0003\.png"),
        ("frame_0003.png", rgb(32, 48, 4), r"frame_0003\.png has opacity"),
        ("frame_0003.png", rgb(32, 48, 3, dtype=np.uint16), r"0003\.png has another depth or size"),
    ],
)
def test_frames_that_do_not_go_together(tmp_path, name, content, message):
    write_frames(tmp_path, range(3))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        write_image(tmp_path / name, content)
    with pytest.raises(ValueError, match=message):
        list(NumberedFrames(tmp_path, RATE).frames(0))


def test_a_folder_without_frames(tmp_path):
    with pytest.raises(ValueError, match="holds no image"):
        NumberedFrames(tmp_path, RATE)
