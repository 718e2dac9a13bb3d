"""DIV2K (Agustsson and Timofte, CVPRW 2017), through TensorFlow Datasets."""

import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sr_jax.data.sources.images import ImagePair

# TFDS's "train" holds the images 1..800 and its "validation" 801..900.
NUMBERS = {"train": range(1, 801), "validation": range(801, 901)}
SCALES = (2, 3, 4, 8)
_PROBE = "https://data.vision.ee.ethz.ch/cvl/DIV2K/DIV2K_valid_LR_x8.zip"


def list_div2k(
    split: str, path: str | os.PathLike[str] | None, scales: tuple[int, ...]
) -> tuple[ImagePair, ...]:
    """DIV2K with its bicubic LR images (Agustsson and Timofte, CVPRW 2017), through TFDS.

    Each scale is one TFDS data set, `div2k/bicubic_x<s>`, which holds the HR images too. It is
    downloaded and prepared on first use (4 GB of HR archives once, and 5 GB of records a scale);
    where several processes train, do that beforehand. Records stay encoded until asked for.
    """
    if unknown := sorted(set(scales) - set(SCALES)):
        raise ValueError(f"DIV2K has bicubic images for the scales {SCALES}, not {unknown}")
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
        _prepare(missing)

    skip = tfds.decode.SkipDecoding()
    records = {
        scale: builder.as_data_source(split, decoders={"lr": skip, "hr": skip})
        for scale, builder in builders.items()
    }
    numbers = NUMBERS[split]
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


def _prepare(builders: Mapping[int, Any]) -> None:
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
        requests.head(_PROBE, timeout=10, allow_redirects=True).raise_for_status()
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
