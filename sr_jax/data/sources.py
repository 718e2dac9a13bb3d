"""Where training and validation images come from: `photos`, `folder` or `div2k`.

`load` lists the images of one split and decodes none of them. Each is an
`ImagePair`, which reads its high-resolution (HR) image and the low-resolution (LR) image of
a scale on demand, as 8-bit RGB, aligned with each other. Nothing is cached here.

The `photos` are those that the wheels of scikit-image and scikit-learn carry, so that training
can be tried with no download. Of scikit-image, by the docstrings of `skimage.data`: astronaut
(NASA), rocket (SpaceX) and hubble_deep_field (NASA) are in the public domain; camera (Lav
Varshney), chelsea (Stefan van der Walt), coffee (Rachel Michetti), brick, grass and gravel
(CC0Textures) are CC0; coins (Brooklyn Museum) and ihc (CMMI) have no known restrictions; the
motorcycle views are of the Middlebury 2014 stereo benchmark (Scharstein et al., GCPR 2014). Of
scikit-learn: china and flower, Creative Commons BY 2.0, danielbuechele and vultilion on Flickr.
"""

import dataclasses
import hashlib
import importlib.util
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sr_jax.data.degradation import downscale, modcrop
from sr_jax.imaging.files import list_images, read_image, to_rgb

SPLITS = ("train", "validation")

# Real photographs only: no drawings, logos, pages of text or phantoms; nor the blurred or tiny ones
# of scikit-image (cell, clock_motion, microaneurysms, moon, retina), which teach no detail. The
# JPEG ones kept are of quality 94 to 96 without chroma subsampling, so none is reduced.
#
# Validation: three lossless, sharp colour photographs of different content (a face and cloth; fur;
# smooth ceramics and wood), whose scenes appear in no training image. The two motorcycles show one
# scene from two places and therefore stay together.
_PHOTOS = {
    "train": (
        "skimage/data/brick.png",
        "skimage/data/camera.png",
        "skimage/data/coins.png",
        "skimage/data/grass.png",
        "skimage/data/gravel.png",
        "skimage/data/hubble_deep_field.jpg",
        "skimage/data/ihc.png",
        "skimage/data/motorcycle_left.png",
        "skimage/data/motorcycle_right.png",
        "skimage/data/rocket.jpg",
        "sklearn/datasets/images/china.jpg",
        "sklearn/datasets/images/flower.jpg",
    ),
    "validation": (
        "skimage/data/astronaut.png",
        "skimage/data/chelsea.png",
        "skimage/data/coffee.png",
    ),
}

# TFDS's "train" holds the images 1..800 and its "validation" 801..900.
_DIV2K_NUMBERS = {"train": range(1, 801), "validation": range(801, 901)}
_DIV2K_SCALES = (2, 3, 4, 8)
_DIV2K_PROBE = "https://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_valid_LR_x8.zip"

Reader = Callable[[], np.ndarray]


@dataclass(frozen=True)
class ImagePair:
    """One image, in high resolution and at the scales that it was loaded for; read on demand.

    Attributes:
        name: unique within the source, e.g. `"0801"`.
        scales: the scales that `pair` and `lr` accept.
        read_hr: reads the whole HR image, uint8 `(H, W, 3)` RGB.
        read_lr: scale -> reader of the LR image that the data set brings, uint8 RGB; at a scale
            that is not a key, the LR image is made by MATLAB bicubic. `str(reader)` names it.
    """

    name: str
    scales: tuple[int, ...]
    read_hr: Reader = field(repr=False)
    read_lr: Mapping[int, Reader] = field(default_factory=dict, repr=False)

    def hr(self, scale: int = 1) -> np.ndarray:
        """The HR image, uint8 `(H, W, 3)`, its sides cropped to multiples of `scale`."""
        return modcrop(self.read_hr(), scale)

    def is_grey(self) -> bool:
        """Whether the HR file holds grey alone; `hr` then has three equal channels."""
        return isinstance(self.read_hr, _File) and self.read_hr.is_grey()

    def shorter_side(self) -> int | None:
        """The shorter side of the HR image in pixels, from the head of its file alone.

        None where that would cost as much as reading the image (DIV2K, none of whose is small).

        Raises:
            ValueError: the file is not an image.
        """
        return self.read_hr.shorter_side() if isinstance(self.read_hr, _File) else None

    def lr(self, scale: int) -> np.ndarray:
        """The LR image, uint8 `(H // scale, W // scale, 3)`. Costs what `pair` costs."""
        return self.pair(scale)[0]

    def pair(self, scale: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads both images of a scale, each once.

        Returns:
            `(lr, hr)`, uint8 RGB of `(h, w, 3)` and `(scale * h, scale * w, 3)`: LR pixel
            `(y, x)` covers the HR block that begins at `(scale * y, scale * x)`.

        Raises:
            ValueError: if `scale` is not one of `scales`, or a file cannot be read, or the LR
                image of the data set is not of the HR's size divided by `scale` (rounded down or,
                as MATLAB does, up: it is cropped then).
        """
        if scale not in self.scales:
            raise ValueError(f"{self.name} was loaded for the scales {self.scales}, not x{scale}")
        whole = self.read_hr()
        hr = modcrop(whole, scale)
        if scale not in self.read_lr:
            return downscale(hr, scale), hr
        lr = self.read_lr[scale]()
        height, width = hr.shape[0] // scale, hr.shape[1] // scale
        # imresize of an HR image that was not cropped rounds the size up (DIV2K x8).
        rounded_up = (-(-whole.shape[0] // scale), -(-whole.shape[1] // scale))
        if lr.shape[:2] not in ((height, width), rounded_up):
            raise ValueError(
                f"{self.read_lr[scale]} is {lr.shape[1]}x{lr.shape[0]} pixels, expected "
                f"{width}x{height}: 1/{scale} of {self.read_hr}"
            )
        return lr[:height, :width], hr


def load(
    source: str,
    split: str,
    *,
    path: str | os.PathLike[str] | None = None,
    scales: Sequence[int] = (2,),
) -> tuple[ImagePair, ...]:
    """Lists the images of one split of a source, in a fixed order, without decoding any.

    Args:
        source: `"photos"`, `"folder"` or `"div2k"`.
        split: `"train"` or `"validation"`; no image is in both.
        path: `photos`: None. `folder`: a folder, or several separated by commas (or
            `os.pathsep`), each as `list_folder` takes it. `FOLDER/train` and
            `FOLDER/validation` are the splits where they exist; otherwise, of a folder's sorted
            images, the 1st, 11th, 21st ... (ten at most) are for validation and the others for
            training. `div2k`: TFDS's `data_dir`, or None for TFDS's default.
        scales: the integer scales to be used, each at least 2; `div2k` has 2, 3, 4 and 8.

    Returns:
        The images, at least one, with distinct names.

    Raises:
        ValueError: if an argument is not one of the above or the images are not there, in one line
            that says what to do.
    """
    if source not in _SOURCES:
        raise ValueError(f"unknown data source {source!r}; known: {', '.join(_SOURCES)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
    if not scales or any(not isinstance(s, int) or s < 2 for s in scales):
        raise ValueError(f"scales must be integers of at least 2, got {tuple(scales)}")
    return _SOURCES[source](split, path, tuple(scales))


def list_folder(
    folder: str | os.PathLike[str], scales: Sequence[int] = (2,)
) -> tuple[ImagePair, ...]:
    """Lists all images of one folder, sorted by path, without decoding any.

    If the folder has a folder `HR`, the HR images are in there, and the LR images of scale s in
    `LR_bicubic/X<s>` if that exists: under the HR's name with or without `x<s>` after it, as in
    DIV2K (`0801.png`, `0801x2.png`). Otherwise all its images are HR images. Both are searched
    recursively. 16 bits are reduced to 8, grey is replicated, alpha is dropped.

    Args:
        folder: the folder.
        scales: the scales to be used.

    Returns:
        The images, at least one, named by their paths under the folder (or `HR`) without suffix.

    Raises:
        ValueError: if there is no such folder or no image in it, two images have one name, LR
            images are found among the HR images, or an LR folder lacks an image; a file is named.
    """
    folder = Path(folder)
    has_layout = (folder / "HR").is_dir()
    hr_folder = folder / "HR" if has_layout else folder
    files: dict[Path, Path] = {}
    for file in list_images(hr_folder):
        inside = file.relative_to(hr_folder)
        if "LR_bicubic" in inside.parts:
            raise ValueError(
                f"{file} is an LR image where HR images are expected: name the folder that holds "
                f"both HR and LR_bicubic"
            )
        other = files.setdefault(inside.with_suffix(""), file)
        if other != file:
            raise ValueError(f"{other} and {file} have the same name: rename or remove one")

    readers: dict[Path, dict[int, Reader]] = {stem: {} for stem in files}
    for scale in scales:
        lr_folder = folder / "LR_bicubic" / f"X{scale}"
        if not (has_layout and lr_folder.is_dir()):
            continue
        known = {f.relative_to(lr_folder).with_name(f.stem): f for f in list_images(lr_folder)}
        for stem, file in files.items():
            suffixed = stem.with_name(f"{stem.name}x{scale}")
            lr_file = known.get(suffixed, known.get(stem))
            if lr_file is None:
                raise ValueError(
                    f"{lr_folder} lacks {suffixed}{file.suffix} (or {stem}{file.suffix}), the LR "
                    f"image of {file}: add it, or remove that folder to have LR images made"
                )
            readers[stem][scale] = _File(lr_file)
    return tuple(
        ImagePair(stem.as_posix(), tuple(scales), _File(file), readers[stem])
        for stem, file in files.items()
    )


# ---------------------------------------------------------------------------------- photos


def _photos(
    split: str, path: str | os.PathLike[str] | None, scales: tuple[int, ...]
) -> tuple[ImagePair, ...]:
    """The photographs of the installed wheels: see `_PHOTOS`."""
    if path is not None:
        raise ValueError(f"the source 'photos' takes no path, got {os.fspath(path)!r}")
    files = [_wheel_file(photo) for photo in _PHOTOS[split]]
    return tuple(ImagePair(file.stem, scales, _File(file)) for file in files)


def _wheel_file(photo: str) -> Path:
    package, _, inside = photo.partition("/")
    spec = importlib.util.find_spec(package)  # finds without importing, which costs seconds
    for location in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(location) / inside).is_file():
            return Path(location) / inside
    raise ValueError(
        f"the source 'photos' needs {photo}: run `pip install scikit-image scikit-learn`"
    )


# ---------------------------------------------------------------------------------- folder


def _folder(
    split: str, path: str | os.PathLike[str] | None, scales: tuple[int, ...]
) -> tuple[ImagePair, ...]:
    """One or several folders, each split by itself, then joined: see `load`."""
    if not path:
        raise ValueError("the source 'folder' needs a path: a folder of images, or several: A,B")
    text = os.fspath(path)
    parts = [text] if Path(text).is_dir() else text.replace(os.pathsep, ",").split(",")
    if len(set(parts)) < len(parts):
        raise ValueError(f"the same folder twice: {text}")
    if len(parts) == 1:
        return _one_folder(Path(text), split, scales)
    return tuple(
        dataclasses.replace(pair, name=f"{part}/{pair.name}")
        for part in parts
        for pair in _one_folder(Path(part), split, scales)
    )


def _one_folder(folder: Path, split: str, scales: tuple[int, ...]) -> tuple[ImagePair, ...]:
    present = [name for name in SPLITS if (folder / name).is_dir()]
    if len(present) == 1:
        raise ValueError(
            f"{folder} has a folder {present[0]!r} but not the other of {' and '.join(SPLITS)}"
        )
    if present:
        return list_folder(folder / split, scales)
    pairs = list_folder(folder, scales)
    if len(pairs) == 1:
        raise ValueError(f"{folder} holds one image; training and validation need one each")
    chosen = range(0, len(pairs), 10)[:10]
    return tuple(pair for i, pair in enumerate(pairs) if (i in chosen) == (split == "validation"))


@dataclass(frozen=True)
class _File:
    """Reads an image file as 8-bit RGB; prints as its path."""

    path: Path

    def __call__(self) -> np.ndarray:
        image = to_rgb(read_image(self.path))
        if image.dtype == np.uint8:
            return image
        return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)  # round(x / 257)

    def shorter_side(self) -> int:
        """The shorter side in pixels."""
        try:
            with Image.open(self.path) as image:  # reads the head only
                return min(image.size)
        except Exception:  # a kind that Pillow does not know, or a corrupt file, which this tells
            return min(self().shape[:2])

    def is_grey(self) -> bool:
        """Whether the file has one colour channel, alpha aside."""
        image = read_image(self.path)
        return image.ndim == 2 or image.shape[2] < 3

    def __str__(self) -> str:
        return str(self.path)


# ----------------------------------------------------------------------------------- div2k


def _div2k(
    split: str, path: str | os.PathLike[str] | None, scales: tuple[int, ...]
) -> tuple[ImagePair, ...]:
    """DIV2K with its bicubic LR images (Agustsson and Timofte, CVPRW 2017), through TFDS.

    Each scale is one TFDS data set, `div2k/bicubic_x<s>`, which holds the HR images too. It is
    downloaded and prepared on first use (4 GB of HR archives once, and 5 GB of records a scale);
    where several processes train, do that beforehand. Records stay encoded until asked for.
    """
    if unknown := sorted(set(scales) - set(_DIV2K_SCALES)):
        raise ValueError(f"DIV2K has bicubic images for the scales {_DIV2K_SCALES}, not {unknown}")
    import tensorflow_datasets as tfds  # half a second, and heavy to install

    try:
        builders = {
            s: tfds.builder(f"div2k/bicubic_x{s}", data_dir=path, file_format="array_record")
            for s in scales
        }
    except ValueError as error:  # prepared earlier as TFRecords, which have no random access
        reason = str(error).splitlines()[-1]
        raise ValueError(f"use another data_dir for DIV2K: {reason}") from error
    missing = {s: builder for s, builder in builders.items() if not builder.is_prepared()}
    if missing:
        _prepare_div2k(missing)

    skip = tfds.decode.SkipDecoding()
    records = {
        scale: builder.as_data_source(split, decoders={"lr": skip, "hr": skip})
        for scale, builder in builders.items()
    }
    numbers = _DIV2K_NUMBERS[split]
    places: dict[int, dict[str, int]] = {}
    for scale, source in records.items():
        if len(source) != len(numbers):
            raise ValueError(
                f"{builders[scale].data_path} holds {len(source)} {split} images, not "
                f"{len(numbers)}: remove it and prepare DIV2K anew from whole archives"
            )
        # TFDS sorts examples by the MD5 of split and key (tensorflow_datasets/core/hashing.py),
        # and the key is the name of the LR file: the order differs from scale to scale.
        keys = [f"{number:04d}x{scale}.png" for number in numbers]
        order = sorted(keys, key=lambda key: hashlib.md5((split + key).encode()).digest())
        places[scale] = {key[:4]: place for place, key in enumerate(order)}

    first = scales[0]
    pairs = []
    for number in numbers:
        name = f"{number:04d}"
        lr = {s: _Record(records[s], places[s][name], "lr", f"{name}x{s}.png") for s in scales}
        hr = _Record(records[first], places[first][name], "hr", f"{name}.png")
        pairs.append(ImagePair(name, scales, hr, lr))
    for pair in (pairs[0], pairs[-1]):  # a few reads tell whether the order above is TFDS's
        copies = {records[s][places[s][pair.name]]["hr"] for s in scales}
        if len(copies) != 1:
            raise ValueError(f"the DIV2K records of {scales} differ in their order: prepare anew")
    return tuple(pairs)


def _prepare_div2k(builders: Mapping[int, Any]) -> None:
    """Downloads and prepares, or says what to do."""
    import requests
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    data_dir = Path(next(iter(builders.values())).data_path).parents[2]
    command = (
        "import tensorflow_datasets as tfds; "
        f"[tfds.builder(f'div2k/bicubic_x{{s}}', data_dir='{data_dir}', file_format='array_record')"
        f".download_and_prepare() for s in {tuple(builders)}]"
    )
    try:
        # TFDS would retry for minutes.
        requests.head(_DIV2K_PROBE, timeout=10, allow_redirects=True).raise_for_status()
        config = tfds.download.DownloadConfig(try_download_gcs=False)
        for builder in builders.values():
            builder.download_and_prepare(download_config=config)
    except (OSError, tfds.download.DownloadError, NonMatchingChecksumError) as error:
        reason = " ".join(str(error).split())[:200]  # requests' own errors are OSErrors
        raise ValueError(
            f"DIV2K is not prepared in {data_dir} and could not be downloaded: where there is a "
            f'network run `python -c "{command}"` and copy {data_dir / "div2k"} here, or train on '
            f"images of your own with the source 'folder' ({type(error).__name__}: {reason})"
        ) from error


@dataclass(frozen=True)
class _Record:
    """Reads an image of a TFDS data source as 8-bit RGB; prints as the name of its file."""

    source: Sequence[Mapping[str, bytes]]
    place: int
    key: str
    name: str

    def __call__(self) -> np.ndarray:
        with Image.open(io.BytesIO(self.source[self.place][self.key])) as image:
            return np.asarray(image.convert("RGB"))

    def __str__(self) -> str:
        return f"{self.name} of DIV2K"


_SOURCES = {"photos": _photos, "folder": _folder, "div2k": _div2k}
