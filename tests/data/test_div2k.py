"""DIV2K through the true TFDS builder, offline.

The whole data set (800 + 100 images, tiny ones) is laid where TFDS keeps what it downloaded: the
validation archives as zip files, the training archives as already unpacked (unpacking 1600 files
costs TFDS ten seconds). TFDS takes a file in its download folder for good without hashing it again,
so its own builder prepares the records, and `load` does all that a user's first run does.
Nothing of TFDS is mocked; only the question whether the DIV2K server answers is.
"""

import hashlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sr_jax.data.sources import div2k, load

tfds = pytest.importorskip("tensorflow_datasets")
requests = pytest.importorskip("requests")

SCALES = (2, 3)
HEIGHT, WIDTH = 12, 18
NUMBERS = {"train": range(1, 801), "validation": range(801, 901)}


def image(number: int, scale: int = 1) -> np.ndarray:
    """A picture that tells its number and scale apart from all others."""
    pixels = np.zeros((HEIGHT // scale, WIDTH // scale, 3), np.uint8)
    pixels[:] = (number % 256, number // 256, scale)
    return pixels


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def lay_out_downloads(data_dir: Path, scale: int) -> None:
    """Puts the four archives of a scale where TFDS would have put them."""
    from tensorflow_datasets.core.download import resource

    builder = tfds.builder(f"div2k/bicubic_x{scale}", data_dir=data_dir)
    for key, url in builder.builder_config.download_urls.items():
        split = "train" if key.startswith("train") else "validation"
        is_hr = "_hr_" in key
        top = Path(url).stem if is_hr else f"{Path(url).stem[:-3]}/X{scale}"
        archive = (
            data_dir
            / "downloads/div2k"
            / resource.get_dl_fname(url, builder.url_infos[url].checksum)
        )
        archive.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{archive}.INFO").write_text(json.dumps({"urls": [url]}))
        unpacked = data_dir / "downloads/extracted" / f"ZIP.{archive.name}" / top
        if split == "train":
            unpacked.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(archive, "w") as packed:
            for number in NUMBERS[split]:
                name = f"{number:04d}.png" if is_hr else f"{number:04d}x{scale}.png"
                data = png(image(number, 1 if is_hr else scale))
                if split == "train":
                    (unpacked / name).write_bytes(data)
                else:
                    packed.writestr(f"{top}/{name}", data)


def no_network(url: str, **options: float) -> None:
    assert options["timeout"] <= 10
    raise requests.exceptions.ConnectionError("Name or service\nnot known")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scale 3 is prepared by the command that the error message advises, scale 2 by `load`."""
    data_dir = tmp_path_factory.mktemp("tfds")
    for scale in SCALES:
        lay_out_downloads(data_dir, scale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "head", no_network)
        with pytest.raises(ValueError, match="could not be downloaded") as caught:
            load("div2k", "validation", path=data_dir, scales=(3,))
        command = re.search(r"`python (-c \".*\")`", str(caught.value))
        assert command is not None
        subprocess.run([sys.executable, *shlex.split(command[1])], check=True)
        patch.setattr(requests, "head", lambda url, **options: requests.Response())
        patch.setattr(requests.Response, "raise_for_status", lambda self: None)
        load("div2k", "validation", path=data_dir, scales=SCALES)
    return data_dir


@pytest.mark.parametrize("split", ["train", "validation"])
def test_images_come_in_the_order_of_their_numbers(prepared: Path, split: str) -> None:
    """At every scale, though TFDS shuffles each scale another way."""
    pairs = load("div2k", split, path=prepared, scales=SCALES)
    assert [pair.name for pair in pairs] == [f"{number:04d}" for number in NUMBERS[split]]
    for number, pair in zip(NUMBERS[split], pairs, strict=True):
        for scale in SCALES:
            lr, hr = pair.pair(scale)
            np.testing.assert_array_equal(hr, image(number))
            np.testing.assert_array_equal(lr, image(number, scale))


def test_one_scale_of_several_and_any_order(prepared: Path) -> None:
    (pair, *_) = load("div2k", "validation", path=prepared, scales=(3, 2))
    assert pair.scales == (3, 2)
    np.testing.assert_array_equal(pair.lr(2), image(801, 2))
    (pair, *_) = load("div2k", "validation", path=str(prepared), scales=(3,))
    np.testing.assert_array_equal(pair.lr(3), image(801, 3))


def test_prepared_records_need_neither_network_nor_tensorflow(prepared: Path) -> None:
    code = (
        "import sys, requests; from sr_jax.data.sources import load;"
        "requests.head = None;"
        f"load('div2k', 'train', path={str(prepared)!r})[7].pair(2);"
        "sys.exit('TensorFlow was imported' if 'tensorflow' in sys.modules else 0)"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=root)


def test_an_order_that_is_not_that_of_tfds_is_noticed(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashlib, "md5", hashlib.sha1)
    with pytest.raises(ValueError, match="differ in their order"):
        load("div2k", "train", path=prepared, scales=SCALES)


def test_a_data_set_that_is_not_whole_is_refused(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(div2k.NUMBERS, "train", range(1, 802))
    with pytest.raises(ValueError, match="holds 800 train images, not 801: remove it"):
        load("div2k", "train", path=prepared)


def test_records_in_the_default_format_are_refused(prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared / "div2k", tmp_path / "div2k")
    (info,) = tmp_path.glob("div2k/bicubic_x2/*/dataset_info.json")
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(ValueError, match=r"another data_dir for DIV2K: .*TFRECORD"):
        load("div2k", "train", path=tmp_path)


def test_offline_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once: TFDS is not asked, which would retry for more than three minutes."""
    monkeypatch.setattr(requests, "head", no_network)
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", None)
    with pytest.raises(ValueError, match="could not be downloaded") as caught:
        load("div2k", "train", path=tmp_path, scales=(2, 4))
    message = str(caught.value)
    assert "\n" not in message
    assert str(tmp_path) in message
    assert "download_and_prepare() for s in (2, 4)" in message
    assert "'folder'" in message
