"""Small videos that several test files make and read."""

from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV is not installed: the extra video")

WIDTH, HEIGHT = 48, 32
RATE = Fraction(24000, 1001)


def moving(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A frame (height, width, 3) of its own, with soft colours and an edge that wanders."""
    rows, columns = np.mgrid[:height, :width]
    frame = np.stack(
        [
            128 + 90 * np.sin(columns / 9 + number / 7),
            128 + 80 * np.sin(rows / 7 - number / 11),
            40 + 150 * ((columns + number) % width > width // 2),
        ],
        axis=-1,
    )
    return frame.astype(np.uint8)


def make_video(
    path: Path,
    *,
    frames: int = 60,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    sound: str | None = "aac",
    times: list[int] | None = None,
    time_base: Fraction = 1 / RATE,
    options: dict[str, str] | None = None,
    picture: Any = moving,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    tags: dict[str, int] | None = None,
    aspect: Fraction | None = None,
    turned: int | None = None,
    metadata: dict[str, str] | None = None,
    container: str | None = None,
) -> Path:
    """A video with sound; pictures are RGB, or planes as `av.VideoFrame`."""
    tags = {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1} | (tags or {})
    with av.open(str(path), "w", format=container) as file:
        file.metadata.update(metadata or {})
        options = options or {"crf": "5"}
        video = file.add_stream(codec, rate=RATE, options=options if "264" in codec else {})
        context = video.codec_context
        context.width, context.height, context.pix_fmt = *size, pixels
        context.time_base = time_base
        for name, value in tags.items():
            setattr(context, name, value)
        if aspect:
            context.sample_aspect_ratio = aspect
        if turned is not None:
            video.set_display_rotation(turned)
        audio = file.add_stream(sound, rate=44100) if sound else None
        for number in range(frames):
            frame = picture(number)
            if isinstance(frame, np.ndarray):
                frame = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                    format=pixels,
                    dst_colorspace=tags["colorspace"],
                    dst_color_range=tags["color_range"],
                )
            frame.pts, frame.time_base = times[number] if times else number, time_base
            file.mux(video.encode(frame))
        file.mux(video.encode())
        if audio:
            _add_sound(file, audio, frames)
    return path


def _add_sound(file: Any, audio: Any, frames: int) -> None:
    samples = round(frames * 44100 / RATE)
    wave = (0.3 * np.sin(np.arange(samples) / 20)).astype(np.float32)
    resampler = av.AudioResampler(audio.codec_context.format, "stereo", 44100)
    for start in range(0, samples, 1024):
        part = np.stack([wave[start : start + 1024]] * 2)
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 44100, start, Fraction(1, 44100)
        for converted in resampler.resample(frame):
            file.mux(audio.encode(converted))
    file.mux(audio.encode())


class Read(NamedTuple):
    """What a player sees of a video.

    Attributes:
        planes: for each frame its planes.
        pts: of the frames.
        time_base, rate, aspect: of the stream.
        turned: degrees.
        pixels: the format.
        tags: matrix, range, primaries, transfer.
        sound: (content, pts) of every packet of sound.
    """

    planes: list[list[np.ndarray]]
    pts: list[int]
    time_base: Fraction
    rate: Fraction
    aspect: Fraction | None
    turned: int
    pixels: str
    tags: tuple[int, ...]
    sound: list[tuple[bytes, int]]


def read_video(path: Path) -> Read:
    """Decodes a video as a player does."""
    with av.open(str(path)) as file:
        video = file.streams.video[0]
        kept = video.time_base, video.average_rate, video.sample_aspect_ratio
        planes, pts, frame = [], [], None
        for frame in file.decode(video):
            wide = frame.format.components[0].bits > 8
            dtype = "<u2" if wide else np.uint8
            planes.append(
                [
                    np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width].copy()
                    for plane in frame.planes
                ]
            )
            pts.append(frame.pts)
        tags = frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc
        turned, pixels = frame.rotation, frame.format.name
    with av.open(str(path)) as file:
        packets = file.demux(audio=0) if file.streams.audio else ()
        sound = [(bytes(packet), packet.pts) for packet in packets if packet.size]
    return Read(planes, pts, *kept, turned, pixels, tags, sound)
