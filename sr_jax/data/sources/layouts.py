"""Which images of a folder are high-resolution ones, and which are their low-resolution ones.

Recognised, in upper and lower case:

    HR or GT beside LR, LQ, LR_bicubic, LR_unknown, ...
    DIV2K_train_HR beside DIV2K_train_LR_bicubic; DIV2K_valid_*; Flickr2K_*
    GTmod12 beside LRbicx2, LRbicx3, ... (BasicSR's benchmarks)
    image_SRF_2, image_SRF_3, ... of files NAME_SRF_2_HR, NAME_SRF_2_LR (Huang et al., CVPR 2015)

Low-resolution images lie in a folder of their scale (X2, x2) or directly in theirs.
"""

import collections
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sr_jax.data.sources.images import ImageFile, ImagePair
from sr_jax.imaging.files import read_size
from sr_jax.imaging.listing import Listing, list_files

_SET = r"(?:div2k_(?:train|valid)_|flickr2k_)?"
_HR = re.compile(rf"{_SET}(hr|gt)|gtmod\d+", re.IGNORECASE)
# The kind of degradation and, in some names, the scale.
_LR = re.compile(
    rf"{_SET}(?:lr|lq)_?(?P<kind>bicubic|bic|unknown|mild|difficult|wild)?(?:_?x(?P<scale>\d+))?",
    re.IGNORECASE,
)
# In the order in which one is taken where there are several.
_DEGRADATIONS = ("bicubic", "bic", "", "unknown", "mild", "difficult", "wild")
_SCALE = re.compile(r"x(\d+)", re.IGNORECASE)
_SRF = re.compile(r"image_srf_(\d+)", re.IGNORECASE)
_SRF_FILE = re.compile(r"(?P<name>.+)_SRF_(?P<scale>\d+)_(?P<kind>HR|LR)", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """What a folder holds.

    Attributes:
        pairs: the images, sorted by name.
        hr: where the HR images lie.
        lr: scale -> where its LR images lie; of a scale that is not a key they are made.
        left_out: what is not used, and why.
    """

    pairs: tuple[ImagePair, ...]
    hr: str
    lr: dict[int, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line: how many images, where LR images come from, and what is left out."""
        scales = self.pairs[0].scales
        made = [f"x{scale}" for scale in scales if scale not in self.lr]
        parts = [f"{len(self.pairs)} HR images in {self.hr}"]
        parts += [f"LR x{scale} in {place}" for scale, place in self.lr.items()]
        if made:
            parts.append(f"LR {', '.join(made)} made of them by bicubic interpolation")
        if self.left_out:
            parts.append(f"left out: {'; '.join(self.left_out)}")
        return "; ".join(parts)


def find_layout(
    folder: Path,
    scales: Sequence[int],
    *,
    without: str = "",
    listing: Listing | None = None,
) -> Layout:
    """Finds the HR images of a folder and their LR images, and decodes none.

    Names pair exactly, else with `x<scale>` after the HR image's name (0801.png, 0801x2.png).

    Args:
        folder: the folder.
        scales: the scales to be used.
        without: of DIV2K's folders, those with this word in their names are not looked at.
        listing: what lies in the folder, if that is not of this machine.

    Raises:
        ValueError: no such folder or no image in it; two images of one name; an HR image without
            its LR image, or with two; LR images where HR images are expected. Files are named.
    """
    listing = listing or list_files(folder)
    left_out = [listing.left_out()] if listing.left_out() else []
    if not listing.images:
        raise ValueError(f"{folder} holds no image{f' ({left_out[0]})' if left_out else ''}")
    groups: dict[str, list[Path]] = collections.defaultdict(list)
    for path in listing.images:
        inside = path.relative_to(folder).parts
        groups[inside[0] if len(inside) > 1 else ""].append(path)
    if without:
        groups = {name: group for name, group in groups.items() if without not in name.lower()}

    if any(_SRF.fullmatch(name) for name in groups):
        return _srf_layout(folder, scales, groups, left_out)
    hr_names = [name for name in groups if _HR.fullmatch(name)]
    if len(hr_names) > 1:
        raise ValueError(
            f"{folder} has HR images in {' and in '.join(hr_names)}: keep those of one in a folder "
            "of their own"
        )
    if not hr_names:
        images = [path for group in groups.values() for path in group]
        _refuse_lr(folder, images)
        return Layout(_pairs(_by_name(images, folder), scales), str(folder), {}, tuple(left_out))

    place = folder / hr_names[0]
    files = _by_name(groups.pop(hr_names[0]), place)
    lr_places, beside = _lr_places(folder, groups, files)
    left_out += beside
    used: dict[int, Path] = {}
    lr: dict[int, dict[str, Path]] = {}
    for scale in scales:
        if scale in lr_places:
            used[scale], images = lr_places[scale].pop(0)
            lr[scale], unpaired = _pair_names(files, _by_name(images, used[scale]), scale)
            left_out += [f"without an HR image: {path}" for path in unpaired]
    left_out += [
        f"{other} ({len(images)} images)"
        for candidates in lr_places.values()
        for other, images in candidates
    ]
    names = {scale: str(path) for scale, path in used.items()}
    return Layout(_pairs(files, scales, lr), str(place), names, tuple(left_out))


def _lr_places(
    folder: Path, groups: Mapping[str, list[Path]], files: Mapping[str, Path]
) -> tuple[dict[int, list[tuple[Path, list[Path]]]], list[str]]:
    """The folders of LR images by scale, bicubic ones first; and what is none, in words."""
    found: dict[int, list[tuple[Path, list[Path]]]] = collections.defaultdict(list)
    beside = []

    def by_degradation(name: str) -> int:
        match = _LR.fullmatch(name)
        return _DEGRADATIONS.index((match["kind"] or "").lower()) if match else 0

    for name in sorted(groups, key=by_degradation):
        match = _LR.fullmatch(name)
        if not match:
            beside.append(f"{folder / name} ({len(groups[name])} images)")
            continue
        places: dict[Path, list[Path]] = collections.defaultdict(list)
        for path in groups[name]:
            first = path.relative_to(folder / name).parts[0]
            inner = first if _SCALE.fullmatch(first) else ""
            places[folder / name / inner].append(path)
        for place, images in places.items():
            said = _SCALE.fullmatch(place.name)
            if said:
                scale = int(said[1])
            elif match["scale"]:
                scale = int(match["scale"])
            else:
                scale = _scale_of(_by_name(images, place), files)
            found[scale].append((place, images))
    return found, beside


def _scale_of(low: Mapping[str, Path], files: Mapping[str, Path]) -> int:
    """The scale of LR images whose folder does not say it, by the first one's name or size."""
    for name, path in low.items():
        if name in files:
            (height, width), (h, w) = read_size(files[name]), read_size(path)
            scale = round(height / h)
            if scale < 2 or abs(height - scale * h) >= scale or abs(width - scale * w) >= scale:
                raise ValueError(
                    f"{path} is {w}x{h} pixels, which is no whole fraction of {files[name]}, "
                    f"{width}x{height}: a pair has one scale"
                )
            return scale
        base, _, scale_text = name.rpartition("x")
        if base in files and scale_text.isdecimal():
            return int(scale_text)
    raise ValueError(
        f"no image of {next(iter(low.values())).parent} has the name of one of "
        f"{next(iter(files.values())).parent}: pairs have one name, or x2, x3 ... after it"
    )


def _pair_names(
    files: Mapping[str, Path], low: Mapping[str, Path], scale: int
) -> tuple[dict[str, Path], list[Path]]:
    """Name of an HR image -> its LR image; and the LR images that belong to none."""
    paired = {}
    for name, file in files.items():
        suffixed = f"{name}x{scale}"
        candidates = [low[name]] if name in low else []
        # photox2 may be the name of another HR image.
        if suffixed in low and suffixed not in files:
            candidates.append(low[suffixed])
        if len(candidates) > 1:
            raise ValueError(
                f"{candidates[0]} and {candidates[1]} may both be the LR image of {file}: "
                "remove one"
            )
        if not candidates:
            place = next(iter(low.values())).parent
            raise ValueError(
                f"{place} lacks {suffixed}{file.suffix} (or {name}{file.suffix}), the LR image of "
                f"{file}: add it, or remove that folder to have LR images made"
            )
        paired[name] = candidates[0]
    unpaired = set(low.values()) - set(paired.values())
    return paired, sorted(unpaired)


def _by_name(images: Iterable[Path], folder: Path) -> dict[str, Path]:
    """Path under the folder, without suffix -> file."""
    files: dict[str, Path] = {}
    for path in images:
        name = path.relative_to(folder).with_suffix("").as_posix()
        other = files.setdefault(name, path)
        if other != path:
            raise ValueError(f"{other} and {path} have the same name: rename or remove one")
    return files


def _refuse_lr(folder: Path, images: Iterable[Path]) -> None:
    for path in images:
        parts = path.relative_to(folder).parts[:-1]
        if any(_LR.fullmatch(part) for part in parts):
            raise ValueError(
                f"{path} is an LR image where HR images are expected: name the folder that holds "
                "both the HR and the LR images"
            )


def _srf_layout(
    folder: Path, scales: Sequence[int], groups: Mapping[str, list[Path]], left_out: list[str]
) -> Layout:
    """Of files NAME_SRF_2_HR.png and NAME_SRF_2_LR.png, as Huang et al. published Urban100."""
    found: dict[tuple[int, str], dict[str, Path]] = collections.defaultdict(dict)
    others = []
    for group in groups.values():
        for path in group:
            match = _SRF_FILE.fullmatch(path.stem)
            if not match:
                others.append(path)
                continue
            kind = found[int(match["scale"]), match["kind"].upper()]
            other = kind.setdefault(match["name"], path)
            if other != path:
                raise ValueError(f"{other} and {path} have the same name: rename or remove one")
    present = [scale for scale in scales if found.get((scale, "HR"))]
    if not present:
        known = ", ".join(f"x{scale}" for scale, kind in sorted(found) if kind == "HR")
        asked = ", ".join(f"x{scale}" for scale in scales)
        raise ValueError(f"{folder} has images of {known}, not of {asked}")
    files = found[present[0], "HR"]
    low = {scale: found[scale, "LR"] for scale in present if (scale, "LR") in found}
    lr = {scale: _pair_names(files, images, scale)[0] for scale, images in low.items()}
    if others:
        left_out.append(f"neither _HR nor _LR in their names: {len(others)} images")
    places = {scale: str(next(iter(paths.values())).parent) for scale, paths in lr.items()}
    return Layout(
        _pairs(files, scales, lr),
        str(next(iter(files.values())).parent),
        places,
        tuple(left_out),
    )


def _pairs(
    files: Mapping[str, Path],
    scales: Sequence[int],
    lr: Mapping[int, Mapping[str, Path]] | None = None,
) -> tuple[ImagePair, ...]:
    return tuple(
        ImagePair(
            name,
            tuple(scales),
            ImageFile(files[name]),
            {scale: ImageFile(paths[name]) for scale, paths in (lr or {}).items()},
        )
        for name in files
    )
