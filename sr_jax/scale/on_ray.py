"""Blocks of work given to the workers of a Ray cluster, by Ray Data."""

import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sr_jax.scale.blocks import Watch

LOCAL = "local"
# Cores that a worker without a GPU has where their number was not given: one computes and encodes
# while the other reads.
_CORES = 2
_PATIENCE = 20  # seconds until a cluster must have answered

# Of a Ray that is started here: nothing is sent to its makers, and of its own log nothing that does
# not end it.
_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what it will be by default
}


class Cluster(NamedTuple):
    """Workers that can be had.

    Attributes:
        workers: how many.
        gpus: whether each has one.
        cores: of each.
        nodes: the machines.
    """

    workers: int
    gpus: bool
    cores: int
    nodes: int

    @property
    def memory_share(self) -> float:
        """What part of a machine's memory a worker without a GPU may count on."""
        return 1.0 if self.gpus else min(1.0, self.nodes / self.workers)

    def describe(self) -> str:
        """The workers in words."""
        each = "a GPU" if self.gpus else f"{_count(self.cores, 'CPU core')}"
        workers, nodes = _count(self.workers, "worker"), _count(self.nodes, "machine")
        return f"Ray: {workers} on {nodes}, {each} for each"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"


def connect(address: str, workers: int | None) -> Cluster:
    """Joins a Ray cluster, or starts one on this machine, until this process ends.

    It comes before JAX begins here: Ray starts processes by fork, for which JAX warns.

    Args:
        address: of a cluster, 'auto' for the one that this machine belongs to, or `LOCAL`.
        workers: how many; None: one for each GPU, or else one for two cores.

    Raises:
        ValueError: no such cluster, or fewer GPUs than workers.
    """
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    import ray

    _check_answers(address)
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == LOCAL:
        options["include_dashboard"] = False
        options["num_cpus"] = max(os.cpu_count() or 1, workers or 1)
    try:
        ray.init(address, ignore_reinit_error=True, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        words = " ".join(str(error).split())
        raise ValueError(f"--ray {address}: no such cluster ({words[:200]})") from error
    if threading.current_thread() is threading.main_thread():
        # Ray's own handler dumps the stack, and does not let its workers end in order.
        signal.signal(signal.SIGTERM, _end)
    there = ray.cluster_resources()
    gpus, cores = int(there.get("GPU", 0)), int(there.get("CPU", 1))
    nodes = sum(node["Alive"] for node in ray.nodes())
    count = workers or gpus or max(1, cores // _CORES)
    if gpus and count > gpus:
        raise ValueError(f"--workers is {count}, but each takes a GPU, and there are {gpus}")
    return Cluster(count, gpus > 0, max(1, cores // count), nodes)


def _end(number: int, _: object) -> None:
    sys.exit(128 + number)


def _check_answers(address: str) -> None:
    """Raises ValueError where nobody listens, which Ray itself tells after minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise ValueError(f"--ray {address}: nobody answers there ({error})") from None


def run(
    cluster: Cluster,
    make: Callable[..., Callable[[Any], Any]],
    arguments: Sequence[Any],
    blocks: Sequence[Any],
) -> Iterator[Any]:
    """Gives blocks to workers and yields what becomes of them, as they are done.

    The block of a worker that has ended is given to another one.

    Args:
        cluster: of `connect`.
        make: makes a worker of a `Watch` and the arguments, on its machine; an importable function.
        arguments: are sent once to each machine.
        blocks: plain values, as the results are.

    Raises:
        ValueError: a worker cannot be made, or raised something.
    """
    import ray
    from ray.data import ActorPoolStrategy, DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    if not blocks:
        return
    texts = [{"block": json.dumps(block)} for block in blocks]
    # Both are held here, because workers that are replaced need them again.
    shared = ray.put(tuple(arguments))
    watch = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Watch).remote()
    data = ray.data.from_items(texts, override_num_blocks=len(texts))
    outcomes = data.map_batches(
        _Worker,
        batch_size=1,
        compute=ActorPoolStrategy(size=min(cluster.workers, len(texts))),
        fn_constructor_args=(make, shared, watch),
        num_gpus=1 if cluster.gpus else None,
        num_cpus=None if cluster.gpus else cluster.cores,
    )
    try:
        for row in outcomes.iter_rows():
            yield json.loads(row["outcome"])
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None) or error
        lines = [line for line in str(cause).splitlines() if line.strip()]
        raise ValueError(f"a worker failed: {lines[-1].strip()}") from error


class _FarWatch(Watch):
    """The `Watch` of all workers, which is an actor of the cluster."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def begin(self, block: str) -> tuple[int, list[str]]:
        import ray

        return ray.get(self._actor.begin.remote(block))

    def at(self, block: str, name: str) -> None:
        import ray

        ray.get(self._actor.at.remote(block, name))


class _Worker:
    """What Ray Data calls with batches of one block."""

    def __init__(
        self, make: Callable[..., Callable[[Any], Any]], arguments: Any, watch: Any
    ) -> None:
        import ray

        self._work = make(_FarWatch(watch), *ray.get(arguments))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {"outcome": [json.dumps(self._work(json.loads(str(t)))) for t in batch["block"]]}
