"""Videos written: frames as H.264 in pieces that stand alone, and the pieces joined with the sound.

Every piece begins with a key frame of an encoder of its own and holds no B frames, so that frames
come in the order of their times, and pieces can be put one after the other as they are.
"""

import contextlib
import heapq
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sr_jax.imaging.video import FULL, LIMITED, Frame, Look, VideoFile, is_picture, open_video
from sr_jax.imaging.yuv import frame_of, from_rgb, resampler

# Of x264 a constant rate factor of 17.3, at which losses are hard to see.
QUALITY = 66
# What muxers say themselves, and what is of the old file alone.
_OWN_METADATA = {"encoder", "duration", "major_brand", "minor_version", "compatible_brands"}


class Packet(NamedTuple):
    """An encoded frame: its bytes, its times in units of the time base, whether it stands alone."""

    size: int
    pts: int
    duration: int
    key: bool


class Copies(NamedTuple):
    """What of a video file goes into the new one as it is.

    Attributes:
        streams: the numbers of sound, subtitles, cover pictures and attachments.
        left_out: the others, a few words each.
    """

    streams: frozenset[int] = frozenset()
    left_out: tuple[str, ...] = ()


def encode(frames: Iterable[Frame], look: Look, quality: int) -> tuple[bytes, list[Packet]]:
    """Encodes frames as a piece.

    Args:
        frames: of the look's size.
        look: of the video.
        quality: from 1 to 100; 100 is without loss, but for the rounding of colours.

    Returns:
        The bytes of all packets, and what they are.

    Raises:
        ValueError: x264 does not take this size, or the like.
    """
    import av

    picture = _pictures(look)
    with _told("cannot encode the video"):
        context = av.CodecContext.create("libx264", "w")
        _set_up(context, look, quality)
        packets = [packet for frame in frames for packet in context.encode(picture(frame))]
        packets += context.encode()
    told = [Packet(p.size, p.pts or 0, p.duration or 0, p.is_keyframe) for p in packets]
    return b"".join(map(bytes, packets)), told


def plan_copies(source: VideoFile, container: str) -> Copies:
    """What of a file can go along into a container.

    Args:
        source: the file.
        container: of the new one, FFmpeg's name: "mp4", "mov" or "matroska".

    Raises:
        ValueError: the container cannot hold the sound.
    """
    streams, left_out = [], []
    with open_video(source.path) as old:
        for stream in old.streams:
            if stream.index == source.index:
                continue
            what = f"stream {stream.index} ({stream.type}, {stream.name})"
            another = stream.type == "video" and not is_picture(stream)
            if stream.type != "data" and not another and _holds(container, stream):
                streams.append(stream.index)
            elif stream.type == "audio":
                raise ValueError(
                    f"{container} files cannot hold the sound of {source.path}, {what}: name an "
                    "output in .mkv"
                )
            else:
                left_out.append(what)
    return Copies(frozenset(streams), tuple(left_out))


def join(
    path: Path,
    container: str,
    look: Look,
    quality: int,
    pieces: Iterable[tuple[Path, list[Packet]]],
    source: VideoFile | None = None,
    copies: Copies = Copies(),
) -> list[str]:
    """Writes a video file of pieces, and of what is copied from another.

    Args:
        path: the file; it is replaced if it exists.
        container: see `plan_copies`; the path may end in anything.
        look, quality: as of the pieces.
        pieces: files with the content of each, in order, and its packets.
        source: whose other streams, chapters and metadata are copied; None: there is none.
        copies: which streams.

    Returns:
        The names of metadata that the container does not keep.

    Raises:
        ValueError: it cannot be written.
    """
    import av

    # Else the muxer takes a multiple, and Matroska takes milliseconds whatever is asked for.
    scale = {"video_track_timescale": str(look.time_base.denominator)}
    scale = {} if container == "matroska" else scale
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(open_video(source.path)) if source else None
        stack.enter_context(_told(f"cannot write {path}"))
        name = str(path.absolute())
        new = stack.enter_context(
            av.open(name, "w", container, None, scale, metadata_errors="surrogateescape")
        )
        taken: dict[int, Any] = {}
        if source and old:
            for stream in old.streams:  # in the order of the file
                if stream.index == source.index:
                    video = _add_video(new, look, quality)
                    video.disposition = stream.disposition
                    video.metadata.update(_kept(stream.metadata))
                elif stream.index in copies.streams:
                    taken[stream.index] = _add_copy(new, stream)
            new.metadata.update(_kept(old.metadata))
            new.set_chapters(old.chapters())
        else:
            video = _add_video(new, look, quality)
        ours = _packets(video, look, pieces)
        theirs = _copied(old, taken) if taken else iter(())
        for packet in heapq.merge(ours, theirs, key=_moment):
            new.mux(packet)
    if not source:
        return []
    with open_video(source.path) as old, open_video(path) as new:
        known = {name.lower() for name in new.metadata}
        return [name for name in _kept(old.metadata) if name.lower() not in known]


def _set_up(context: Any, look: Look, quality: int) -> None:
    from av.codec.context import Flags

    context.width, context.height, context.pix_fmt = look.width, look.height, look.pixels
    context.time_base, context.framerate = look.time_base, look.rate
    context.max_b_frames = 0
    context.colorspace, context.color_range = look.matrix, FULL if look.full else LIMITED
    context.color_primaries, context.color_trc = look.primaries, look.transfer
    if look.aspect:
        context.sample_aspect_ratio = look.aspect
    # Headers beside the packets, where .mp4 and .mkv want them.
    context.flags |= Flags.global_header
    # The same bytes every time and everywhere: with as many threads as there are cores, or with
    # what x264 has for some processors alone (AVX-512 was seen to vary), pieces would differ.
    context.thread_count = 8
    kept = {"x264-params": "cpu-independent=1"}
    lossless = quality == 100
    context.options = kept | ({"qp": "0"} if lossless else {"crf": f"{0.51 * (100 - quality):.2f}"})


def _pictures(look: Look) -> Callable[[Frame], Any]:
    """A function from RGB to what the encoder takes."""
    colour = "yuv444p10le" if look.bits == 10 else "yuv444p"
    size = look.width, look.height
    thin = None if look.pixels == colour else resampler(size, colour, look.pixels, look.full)

    def picture(frame: Frame) -> Any:
        made = frame_of(np.asarray(from_rgb(frame.rgb, look.matrix, look.full, look.bits)), colour)
        if thin:
            made = thin(made)
        made.pts, made.time_base, made.duration = frame.pts, look.time_base, frame.duration
        return made

    return picture


def _add_video(new: Any, look: Look, quality: int) -> Any:
    """The stream of the video; its encoder makes the headers alone, the same as of every piece."""
    stream = new.add_stream("libx264", rate=look.rate)
    _set_up(stream.codec_context, look, quality)
    stream.time_base = look.time_base
    stream.set_display_matrix(look.rotation)
    return stream


def _add_copy(new: Any, stream: Any) -> Any:
    copy = new.add_stream_from_template(stream, opaque=True, disposition=stream.disposition)
    copy.metadata.update(stream.metadata)
    return copy


def _holds(container: str, stream: Any) -> bool:
    """Whether a container takes a stream, tried in memory before hours of work."""
    import av

    try:
        with av.open(io.BytesIO(), "w", container) as trial:
            _add_copy(trial, stream)
            trial.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    return True


def _packets(stream: Any, look: Look, pieces: Iterable[tuple[Path, list[Packet]]]) -> Iterator[Any]:
    import av

    for path, told in pieces:
        content, start = path.read_bytes(), 0
        for size, pts, duration, key in told:
            packet = av.Packet(content[start : start + size])
            packet.pts = packet.dts = pts
            packet.duration, packet.time_base = duration, look.time_base
            packet.is_keyframe, packet.stream = key, stream
            start += size
            yield packet


def _copied(old: Any, taken: dict[int, Any]) -> Iterator[Any]:
    for packet in old.demux(*(old.streams[index] for index in taken)):
        if packet.size:  # else it only says that the stream ends
            packet.stream = taken[packet.stream.index]
            yield packet


def _moment(packet: Any) -> float:
    time = packet.pts if packet.dts is None else packet.dts
    return float((time or 0) * packet.time_base)


def _kept(metadata: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in metadata.items() if name.lower() not in _OWN_METADATA}


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """What FFmpeg raises as a ValueError of one line."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        raise ValueError(f"{what}: {error.strerror}") from None
