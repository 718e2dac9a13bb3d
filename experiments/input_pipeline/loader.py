"""The data set of the DataLoader; alone in its module, which worker processes import."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset


class TorchBatches(IterableDataset):
    """Endless batches of (N, C, H, W) inputs and targets.

    Attributes:
        work: see `measure.Work`.
        batch_size: examples in a batch.
    """

    def __init__(self, work: Any, batch_size: int) -> None:
        self.work = work
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = torch.utils.data.get_worker_info()
        random = np.random.default_rng(worker.id if worker else 0)
        while True:
            inputs, targets = self.work.batch(random, self.batch_size)
            yield _channels_first(inputs), _channels_first(targets)


def _channels_first(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
