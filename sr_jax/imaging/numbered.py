"""A folder of numbered frames, as a video."""

import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from sr_jax.imaging.files import read_picture, read_size, to_float, to_rgb
from sr_jax.imaging.listing import list_files
from sr_jax.imaging.video import BT709, SRGB, Frame, Look

_NUMBER = re.compile(r"(.*?)([0-9]+)", re.DOTALL)


class NumberedFrames:
    """Image files in a folder, frame_0001.png and so on, in the order of their last numbers.

    Attributes:
        path: the folder.
        look: of the video that they become: 4:2:0, which all players take, of 8 bits or, if the
            first frame has 16, of 10; BT.709 of limited range, primaries and transfer of sRGB.
        notes: what the user should know, a line each.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        """Lists the frames and looks at the headers of all.

        Args:
            path: the folder.
            rate: frames a second.

        Raises:
            ValueError: what is no image or has no number; a number that is missing or twice there;
                a frame of another name, suffix or size; and see `frames`.
        """
        self.path = path
        listing = list_files(path)
        if listing.others or listing.unreadable:
            strange = (*listing.others, *listing.unreadable)[0]
            raise ValueError(f"{strange} lies among frames and is no image: move it elsewhere")
        self.notes = [f"left out of {path}: {listing.left_out()}"] if listing.hidden else []
        self._files = _in_order(path, listing.images)
        first, *others = self._files
        size = read_size(first)
        for file in others:
            if read_size(file) != size:
                raise ValueError(
                    f"{file} is {_pixels(read_size(file))}, but {first.name} {_pixels(size)}: "
                    "frames of one size are needed"
                )
        pixels, profile = self._read(first)
        if profile is not None:
            self.notes.append(f"{first}: colour profiles are left out, all colours taken as sRGB")
        kind = "yuv420p10le" if pixels.dtype == np.uint16 else "yuv420p"
        colours = BT709, BT709, SRGB, False
        self.look = Look(pixels.shape[1], pixels.shape[0], kind, *colours, 1 / rate, rate)
        self._first = (pixels.dtype, *pixels.shape[:2])

    def count(self, tick: Callable[[], object]) -> int:
        """The number of frames; `tick` is called for every one."""
        for _ in self._files:
            tick()
        return len(self._files)

    def files(self, start: int, stop: int) -> list[Path]:
        """The files of frames from a number to another."""
        return self._files[start:stop]

    def frames(self, start: int) -> Iterator[Frame]:
        """The frames from a number on, counted from 0 at the first.

        Raises:
            ValueError: a file that is broken, has alpha, another depth than the first, or a light
                curve that is not that of sRGB.
        """
        for number, file in enumerate(self._files[start:], start):
            pixels, _ = self._read(file)
            if (pixels.dtype, *pixels.shape[:2]) != self._first:
                raise ValueError(f"{file} has another depth or size than {self._files[0].name}")
            yield Frame(to_float(to_rgb(pixels)), number, 1)

    def _read(self, file: Path) -> tuple[np.ndarray, bytes | None]:
        pixels, profile, metadata = read_picture(file)
        if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
            raise ValueError(f"{file} has opacity, which H.264 does not hold: remove it first")
        if metadata.is_unlike_srgb():
            raise ValueError(f"{file} has another light curve than sRGB: convert it first")
        return pixels, profile


def _in_order(folder: Path, images: tuple[Path, ...]) -> list[Path]:
    if not images:
        raise ValueError(f"{folder} holds no image")
    found: dict[int, Path] = {}
    first = None
    for path in images:
        match = _NUMBER.fullmatch(path.stem)
        if not match:
            raise ValueError(f"{path} has no number at the end of its name: move it elsewhere")
        name = path.parent, match[1], path.suffix.lower()
        first = first or (name, path)
        if name != first[0]:
            raise ValueError(
                f"{first[1]} and {path} differ in more than their numbers: frames of one name are "
                "needed"
            )
        number = int(match[2])
        if number in found:
            raise ValueError(f"{found[number]} and {path} both are frame {number}")
        found[number] = path
    for number in range(min(found), max(found)):
        if number not in found:
            after = found[min(later for later in found if later > number)]
            raise ValueError(
                f"frame {number} is missing between {found[number - 1].name} and {after.name} in "
                f"{folder}"
            )
    return [found[number] for number in sorted(found)]


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
