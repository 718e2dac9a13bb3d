"""TensorBoard's event files, written without TensorFlow (as `clu.metric_writers` needs it)."""

import io
import os
import socket
import time
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.image.metadata import create_summary_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb

# Not EventFileWriter, which imports TensorFlow where it is installed.
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_tensor_proto


class EventWriter:
    """Writes one event file. Whatever was written is in it, even if the process is killed."""

    def __init__(self, folder: Path | None) -> None:
        """Begins a file in a folder, which is made; None writes nothing: one process does for all.

        Raises:
            OSError: as all methods: the file system refuses.
        """
        self._file: FileIO | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.v2"
            self._file = (folder / name).open("ab", buffering=0)
        self._write(Event(file_version="brain.Event:2"))

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Values by name, after so many steps."""
        summary = Summary()
        for name, value in scalars.items():
            summary.MergeFrom(scalar_pb(name, value))
        self._write(Event(step=step, summary=summary))

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Images by name, uint8 of shape (H, W, 3), after so many steps."""
        summary = Summary()
        for name, image in images.items():
            png = io.BytesIO()
            Image.fromarray(image).save(png, "PNG")
            height, width = image.shape[:2]
            content = [str(width).encode(), str(height).encode(), png.getvalue()]
            summary.value.add(
                tag=name,
                metadata=create_summary_metadata(display_name=None, description=None),
                tensor=make_tensor_proto(content),
            )
        self._write(Event(step=step, summary=summary))

    def write_hparams(self, hyperparameters: Mapping[str, Any]) -> None:
        """What a training was begun with; None is written as nothing, lists as text."""
        plain = {
            name: value if isinstance(value, bool | int | float | str) else str(value or "")
            for name, value in hyperparameters.items()
        }
        self._write(Event(summary=hparams_pb(plain)))

    def close(self) -> None:
        """Ends the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, event: Event) -> None:
        if self._file is None:
            return
        event.wall_time = time.time()
        try:
            RecordWriter(self._file).write(event.SerializeToString())
        except OSError as error:
            raise OSError(f"cannot write events to {self._file.name}: {error}") from error
