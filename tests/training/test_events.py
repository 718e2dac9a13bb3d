"""Event files, as TensorBoard reads them."""

import io
import os

import numpy as np
import pytest
from PIL import Image
from processes import read_events, scalars
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.util.tensor_util import make_ndarray

from sr_jax.training.events import EventWriter

PICTURE = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)


@pytest.fixture
def folder(tmp_path):
    """Of one event file, which is not closed: what a killed process leaves."""
    writer = EventWriter(tmp_path / "run")
    writer.write_hparams({"rate": 0.5, "flag": True, "path": None, "scales": [2, 3]})
    writer.write_scalars(1, {"loss": 0.5, "psnr": float("inf")})
    writer.write_scalars(2, {"loss": 0.1})
    writer.write_images(2, {"x2/a": PICTURE})
    yield tmp_path / "run"
    writer.close()


def test_scalars_and_images_are_read_back(folder):
    assert scalars(folder, "loss") == [0.5, float(np.float32(0.1))]
    assert scalars(folder, "psnr") == [float("inf")]
    events = read_events(folder)
    (image,) = events.Tensors("x2/a")
    width, height, png = make_ndarray(image.tensor_proto)
    assert (image.step, width, height) == (2, b"4", b"3")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), PICTURE)
    plugins = [events.SummaryMetadata(tag).plugin_data.plugin_name for tag in ("loss", "x2/a")]
    assert plugins == ["scalars", "images"]


def test_hyperparameters_are_read_back(folder):
    (content,) = read_events(folder).PluginTagToContent("hparams").values()
    found = HParamsPluginData.FromString(content).session_start_info.hparams
    assert found["rate"].number_value == 0.5
    assert found["flag"].bool_value is True
    assert found["path"].string_value == ""
    assert found["scales"].string_value == "[2, 3]"


def test_one_process_writes_for_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = EventWriter(None)
    writer.write_scalars(1, {"loss": 0.5})
    writer.close()
    assert not list(tmp_path.iterdir())


def test_full_disk_is_told_with_the_file(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    writer = EventWriter(tmp_path)
    (file,) = tmp_path.iterdir()
    with open("/dev/full", "wb", buffering=0) as full:
        os.dup2(full.fileno(), writer._file.fileno())
    with pytest.raises(OSError, match=rf"^cannot write events to {file}: .*No space left"):
        writer.write_scalars(1, {"loss": 0.5})
    writer.close()
