"""How fast a training goes, and what its time goes to."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any


class Clock:
    """Measures the rate of training, and what the time goes to."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forgets what was measured so far."""
        self._start = time.perf_counter()
        self._data = self._starved = self._devices = 0.0

    def wait_for_data(self, stream: Iterator[Any], pending: Sequence[Any]) -> Any:
        """The next batch. Waiting counts as lost when the devices finished their work meanwhile.

        Args:
            stream: of batches.
            pending: the metrics of the steps that were given to the devices, the last one last.
        """
        start = time.perf_counter()
        batch = next(stream)
        seconds = time.perf_counter() - start
        self._data += seconds
        if pending and pending[-1]["loss"].is_ready():
            self._starved += seconds
        return batch

    @contextlib.contextmanager
    def devices(self) -> Iterator[None]:
        """Counts the time inside as the devices': steps are given to them and waited for."""
        start = time.perf_counter()
        yield
        self._devices += time.perf_counter() - start

    def rates(self, steps: int, batch_size: int) -> dict[str, float]:
        """Rates since the last call, and a fresh start."""
        seconds = time.perf_counter() - self._start
        rates = {
            "speed/images_per_second": steps * batch_size / seconds,
            "speed/seconds_per_step": seconds / steps,
            "speed/data_wait_share": self._starved / seconds,
            "speed/data_seconds_per_step": self._data / steps,
            "speed/device_seconds_per_step": self._devices / steps,
        }
        self.restart()
        return rates
