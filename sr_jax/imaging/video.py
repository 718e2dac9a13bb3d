"""Video files as RGB frames, with what must be known of them to write others like them.

What reading would guess at, lose or take for something else is refused, in one line.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sr_jax.imaging.files import to_float
from sr_jax.imaging.yuv import WEIGHTS, planes, resampler, to_rgb

# Pixel formats that are written, by their names in FFmpeg: what x264 takes.
PIXELS = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")

# Numbers of H.273, and FFmpeg's for ranges.
BT709, UNSPECIFIED, BT601, SRGB = 1, 2, 6, 13
LIMITED, FULL = 1, 2
_HDR = {16: "PQ", 18: "HLG"}
# Videos that do not say their matrix are BT.709 from these sizes on, as players take them.
_HD_WIDTH, _HD_HEIGHT = 1280, 577
# Codecs whose chroma lies in the middle of four pixels; elsewhere it lies at the left.
_CENTRED = ("mjpeg", "mpeg1video")
# Seconds that may lack at the end: streams seldom end together.
_SHORT = 0.5


@dataclasses.dataclass(frozen=True)
class Look:
    """What all frames of a video share.

    Attributes:
        width, height: in pixels.
        pixels: one of `PIXELS`.
        matrix, primaries, transfer: numbers of H.273.
        full: whether codes take the full range.
        time_base: seconds of a unit of time.
        rate: frames a second, on average.
        aspect: a pixel's width over its height; None: not said.
        rotation: the display matrix by which players turn frames, 9 numbers; None: none.
    """

    width: int
    height: int
    pixels: str
    matrix: int
    primaries: int
    transfer: int
    full: bool
    time_base: Fraction
    rate: Fraction
    aspect: Fraction | None = None
    rotation: tuple[int, ...] | None = None

    @property
    def bits(self) -> int:
        """Of a sample."""
        return 10 if "10" in self.pixels else 8


class Frame(NamedTuple):
    """A frame of a video.

    Attributes:
        rgb: (H, W, 3) float32 in [0, 1].
        pts, duration: in units of the time base; a duration of 0 is not known.
    """

    rgb: np.ndarray
    pts: int
    duration: int


class VideoFile:
    """A video in a file.

    Attributes:
        path: the file.
        index: of the video among the streams of the file.
        look: of the frames, `pixels` as they will be written.
        notes: what the user should know, a line each.
    """

    def __init__(self, path: Path) -> None:
        """Reads the first frame.

        Raises:
            ValueError: no such file, no video, or one that is interlaced, HDR, has alpha or no
                rate, or colours or pixels that are not known.
        """
        self.path = path
        self.notes: list[str] = []
        with open_video(path) as container:
            if container.format.name.endswith("_pipe"):
                raise ValueError(f"{path} is an image, not a video: give it an image's suffix")
            videos = [stream for stream in container.streams.video if not is_picture(stream)]
            if not videos:
                raise ValueError(f"{path} holds no video")
            stream = container.streams.best("video")
            stream = stream if stream in videos else videos[0]
            if stream.codec_context is None:
                raise ValueError(f"{path}: FFmpeg cannot decode its video")
            self.index: int = stream.index
            self._codec = stream.codec_context.name
            alpha = stream.metadata.get("alpha_mode", "0") != "0"
            aspect, time_base = stream.sample_aspect_ratio, stream.time_base
            rate = stream.average_rate or stream.guessed_rate
        first = next(self._decoded(), None)
        if first is None:
            raise ValueError(f"{path} holds no frame that can be decoded")
        if alpha or any(component.is_alpha for component in first.format.components):
            raise ValueError(f"{path} has opacity, which H.264 does not hold: remove it first")
        if not rate:
            raise ValueError(f"{path} does not say its rate: put it into .mp4 or .mkv first")
        self._format = first.format.name
        self.look = self._look(first, time_base, rate, aspect or None)

    def count(self, tick: Callable[[], object]) -> int:
        """Decodes the whole video, so that what is wrong with it is known before any work.

        Args:
            tick: called for every frame.

        Returns:
            The number of frames.

        Raises:
            ValueError: a frame before the last that is damaged; one that is interlaced, without a
                time or not later than the one before, or of another size or kind than the first.
        """
        frames = 0
        for _ in self._decoded(whole=True):
            frames += 1
            tick()
        return frames

    def files(self, start: int, stop: int) -> list[Path]:
        """The files that frames are in."""
        return [self.path]

    def frames(self, start: int) -> Iterator[Frame]:
        """The frames from a number on, counted from 0.

        Those before are decoded and dropped: not every container can be entered at a frame.

        Raises:
            ValueError: see `count`.
        """
        for number, frame in enumerate(self._decoded()):
            if number >= start:
                yield Frame(self._rgb(frame), _time(frame), frame.duration)

    def _decoded(self, *, whole: bool = False) -> Iterator[Any]:
        """The frames of PyAV; with `whole` the other streams are read, too, and the end checked."""
        import av

        number, early, last, first, end = 0, 0, None, None, 0.0
        broken, until = "", 0  # why the video breaks off, and before which time
        with open_video(self.path) as container:
            video = container.streams[self.index]
            video.thread_type = "AUTO"
            for packet in container.demux() if whole else container.demux(video):
                if packet.pts is not None:
                    end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                if packet.stream.index != self.index:  # its own number is 0 at a stream's end
                    continue
                if broken and packet.size:  # so it was not the end
                    raise self._damaged(number, broken)
                try:
                    frames = packet.decode()
                except av.FFmpegError as error:
                    if number == 0:  # a recording may begin between two whole frames
                        early += 1
                        continue
                    broken = broken or str(error.strerror)
                    until = (last or 0) if packet.pts is None else packet.pts
                    continue
                for frame in frames:
                    if number == 0 and frame.is_corrupt:
                        early += 1
                        continue
                    time = _time(frame)
                    if frame.is_corrupt:
                        broken, until = "its decoder says so", time or 0
                    if broken and (time is None or time >= until):
                        continue
                    first = first or frame
                    self._check(frame, first, number, last)
                    number, last = number + 1, time
                    yield frame
            start, told = container.start_time or 0, container.duration
        if whole and early:
            self.notes.append(
                f"{self.path}: {early} pieces before the first whole frame are left out"
            )
        if whole and broken:
            self.notes.append(
                f"{self.path} breaks off in its last frame ({broken}): {number} frames are whole"
            )
        if whole and told and end < (start + told) / 1e6 - _SHORT:
            self.notes.append(
                f"{self.path} ends at {end:.1f} s, but should at {(start + told) / 1e6:.1f} s: the "
                "rest is missing"
            )

    def _check(self, frame: Any, first: Any, number: int, last: int | None) -> None:
        time = _time(frame)
        if frame.interlaced_frame:
            raise ValueError(f"{self.path} is interlaced (frame {number}): deinterlace it first")
        if time is None:
            raise ValueError(
                f"{self.path}: frame {number} has no time: put the video into .mp4 or .mkv first"
            )
        if last is not None and time <= last:
            raise ValueError(
                f"{self.path}: frame {number} is not later than the one before ({time} after {last}"
                f", in units of {frame.time_base} s)"
            )
        if _kind(frame) != _kind(first):
            raise ValueError(
                f"{self.path}: frame {number} is {frame.width} x {frame.height} {frame.format.name}"
                f", the first one {first.width} x {first.height} {first.format.name}, or their "
                "colours differ: cut the video where it changes"
            )

    def _damaged(self, number: int, reason: str) -> ValueError:
        return ValueError(
            f"{self.path}: frame {number} is damaged ({reason}): repair the video first, or cut "
            "it out"
        )

    def _look(
        self, frame: Any, time_base: Fraction, rate: Fraction, aspect: Fraction | None
    ) -> Look:
        from av.codec.codec import PixFmtLoss, find_best_pix_fmt_of_list

        name, path = frame.format.name, self.path
        if frame.color_trc in _HDR:
            raise ValueError(
                f"{path} is HDR ({_HDR[frame.color_trc]}), which networks here are not made for: "
                "convert it to SDR first"
            )
        best, loss = find_best_pix_fmt_of_list(PIXELS, name.replace("yuvj", "yuv"))
        if best is None or name.startswith(("xyz", "bayer")):
            raise ValueError(f"{path}: its pixels are {name}, which is not supported")
        pixels = best.name
        if loss & PixFmtLoss.DEPTH:
            bits = max(component.bits for component in frame.format.components)
            self.notes.append(f"{path} has {bits} bits a sample, of which 10 are written")
        matrix = frame.colorspace
        primaries, transfer = (n or UNSPECIFIED for n in (frame.color_primaries, frame.color_trc))
        full = name.startswith("yuvj") or frame.color_range == FULL
        if _is_rgb(frame):
            if len(frame.format.components) == 1 and frame.color_range == LIMITED:
                raise ValueError(f"{path}: grey of limited range ({name}) is not supported")
            grey = len(frame.format.components) == 1 and not frame.format.has_palette
            pixels = pixels.replace("444", "420") if grey else pixels
            self.notes.append(f"{path} is {'grey' if grey else 'RGB'}: BT.709 {pixels} is written")
            matrix, full = BT709, False
            primaries = BT709 if primaries == UNSPECIFIED else primaries
            transfer = SRGB if transfer == UNSPECIFIED else transfer
        elif matrix == UNSPECIFIED:
            hd = frame.width >= _HD_WIDTH or frame.height >= _HD_HEIGHT
            matrix = BT709 if hd else BT601
            self.notes.append(
                f"{path} does not say its colour matrix: by its size BT.{709 if hd else 601} is "
                "taken, and written"
            )
        if matrix not in WEIGHTS:
            raise ValueError(f"{path}: its colour matrix (number {matrix}) is not supported")
        try:
            rotation = tuple(np.frombuffer(frame.side_data["DISPLAYMATRIX"], "<i4").tolist())
        except KeyError:
            rotation = None
        return Look(
            *(frame.width, frame.height, pixels, matrix, primaries, transfer, full),
            *(time_base, rate, aspect, rotation),
        )

    def _rgb(self, frame: Any) -> np.ndarray:
        bits = frame.format.components[0].bits
        if _is_rgb(frame):
            return to_float(frame.to_ndarray(format="rgb48le" if bits > 8 else "rgb24"))
        codes = np.stack(planes(self._full_chroma(frame)))
        return np.asarray(to_rgb(codes, self.look.matrix, self.look.full, bits))

    @functools.cached_property
    def _full_chroma(self) -> Callable[[Any], Any]:
        size, full = (self.look.width, self.look.height), self.look.full
        siting = "center" if self._codec in _CENTRED else "left"
        return resampler(size, self._format, "yuv444p16le", full, siting)


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[Any]:
    """A file as PyAV's container; what FFmpeg raises becomes a ValueError of one line."""
    import av

    if not path.is_file():
        raise ValueError(f"cannot read video {path}: no such file")
    try:
        # Absolute: "a:b.mp4" is else b.mp4 by a protocol "a". Metadata may be no UTF-8.
        name = str(path.absolute())
        with av.open(name, metadata_errors="surrogateescape") as container:
            yield container
    except av.FFmpegError as error:
        raise ValueError(f"cannot read video {path}: {error.strerror}") from None


def is_picture(stream: Any) -> bool:
    """Whether a stream of PyAV is a cover picture, which counts as a video there."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _is_rgb(frame: Any) -> bool:
    """Whether there is no chroma; FFmpeg makes grey and palettes into RGB without a matrix."""
    kind = frame.format
    return kind.is_rgb or kind.has_palette or len(kind.components) == 1


def _time(frame: Any) -> Any:
    """Of some containers frames have no time of their own, but that of their packets."""
    return frame.dts if frame.pts is None else frame.pts


def _kind(frame: Any) -> tuple[Any, ...]:
    return (
        *(frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range),
        *(frame.color_primaries, frame.color_trc),
    )
