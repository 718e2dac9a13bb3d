"""Stages of a run: child processes that are given items, time limits, and results on disk at once.

This module imports neither JAX nor PyTorch: the parent holds nothing on the card, and a child that
crashes or hangs takes nothing with it but its own item.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sr_jax.storage import write_bytes

REPOSITORY = Path(__file__).resolve().parents[2]
LOG_BYTES = 200_000  # of each child's output, its end
NOT_REACHED = "not reached: the time of the stage was over"


@dataclass(frozen=True)
class Stage:
    """A part of the run.

    Attributes:
        name: in the results.
        module: run as a child, which calls `serving.serve`.
        items: what the child is asked, in order of worth.
        until: share of the run's time by which the stage is over.
        limit: seconds that one item may take, a child's start included.
        workers: children that share the items.
        grace: seconds between SIGTERM, which lets a child save, and SIGKILL; part of the limits.
        options: for the child.
        environment: variables of the child.
    """

    name: str
    module: str
    items: Sequence[str]
    until: float
    limit: float
    workers: int = 1
    grace: float = 0.5
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


class Results:
    """What was found so far: in memory, and whole in OUTPUT/results.json after every answer."""

    def __init__(self, output: Path, conditions: Mapping[str, Any]) -> None:
        self.output = output
        self.found: dict[str, Any] = {"conditions": dict(conditions), "stages": {}}
        self._lock = threading.Lock()
        output.mkdir(parents=True, exist_ok=True)
        self._write()

    def put(self, stage: str, item: str, answer: dict[str, Any]) -> None:
        """Stores the answer to an item, a status if it is nothing else."""
        with self._lock:
            self._stage(stage)["items"][item] = {"status": "measured"} | answer
            self._write()

    def close(self, stage: str, **told: Any) -> None:
        """Stores what is known of a stage as a whole."""
        with self._lock:
            self._stage(stage).update(told)
            self._write()

    def carry_over(self, earlier: Mapping[str, Any], stages: Sequence[str]) -> None:
        """Takes what an earlier run measured, so that it is not measured again."""
        with self._lock:
            for name in stages:
                items = earlier.get("stages", {}).get(name, {}).get("items", {})
                measured = {k: v for k, v in items.items() if v["status"] == "measured"}
                self._stage(name)["items"] |= measured
            self._write()

    def items(self, stage: str) -> dict[str, dict[str, Any]]:
        """The answers of a stage."""
        return self.found["stages"].get(stage, {}).get("items", {})

    def log(self, text: str) -> None:
        """Adds to OUTPUT/log.txt."""
        with self._lock, (self.output / "log.txt").open("a") as file:
            file.write(text)

    def _stage(self, name: str) -> dict[str, Any]:
        return self.found["stages"].setdefault(name, {"items": {}})

    def _write(self) -> None:
        write_bytes(self.output / "results.json", json.dumps(self.found, indent=1).encode())


class Runner:
    """Runs stages until a moment that nothing outlasts.

    Args:
        results: takes the answers.
        scratch: a folder for the children's output.
        seconds: from now to the end of the run.
    """

    def __init__(self, results: Results, scratch: Path, seconds: float) -> None:
        self.results = results
        self.scratch = scratch
        self.seconds = seconds
        self.start = time.monotonic()
        self._children: set[Child] = set()
        self._told_to_end = False

    def run(self, *stages: Stage) -> None:
        """Runs stages side by side; returns when all are over, each at its own time at the latest.

        Items that the results hold already, from an earlier run, are not run again.
        """
        threads = []
        for stage in stages:
            items = [item for item in stage.items if item not in self.results.items(stage.name)]
            threads.append(threading.Thread(target=self._run_stage, args=(stage, items)))
        with self._no_orphans():
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _run_stage(self, stage: Stage, items: Sequence[str]) -> None:
        begin, end = time.monotonic(), self.start + stage.until * self.seconds
        queue = deque(items)
        workers = [
            threading.Thread(target=self._work, args=(stage, queue, end))
            for _ in range(min(stage.workers, len(items)))
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        for item in queue:
            self.results.put(stage.name, item, {"status": NOT_REACHED})
        seconds, moment = time.monotonic() - begin, time.monotonic() - self.start
        self.results.close(stage.name, seconds=round(seconds, 1), over_at=round(moment, 1))
        print(f"{moment:6.1f} s  {stage.name}: over after {seconds:.1f} s", flush=True)

    def _work(self, stage: Stage, queue: "deque[str]", end: float) -> None:
        """Asks item after item; a child that ended or was stopped is replaced by a fresh one."""
        child: Child | None = None
        while time.monotonic() < end - stage.grace and not self._told_to_end:
            try:
                item = queue.popleft()
            except IndexError:
                break
            if child is None:
                child = Child(stage, self.scratch)
                self._children.add(child)
            begin = time.monotonic()
            answer = child.ask(item, min(end, begin + stage.limit), stage.grace)
            seconds = time.monotonic() - begin
            self.results.put(stage.name, item, answer | {"seconds": round(seconds, 1)})
            told = answer.get("status", "measured")
            print(f"{begin - self.start:6.1f} s  {stage.name}: {item}: {told}", flush=True)
            if child.ended:
                self._bury(child)
                child = None
        if child is not None:
            self._bury(child)

    def _bury(self, child: "Child") -> None:
        child.kill()
        self._children.discard(child)
        self.results.log(child.log())

    @contextlib.contextmanager
    def _no_orphans(self) -> Iterator[None]:
        """Ends the children when this process is told to end."""
        try:
            yield
        except BaseException:
            self._told_to_end = True
            for child in list(self._children):
                child.kill()
            raise


class Child:
    """A process that answers items.

    Attributes:
        ended: whether it takes no more of them.
    """

    def __init__(self, stage: Stage, scratch: Path) -> None:
        self.ended = False
        self._name = stage.name
        self._log = scratch / f"{stage.name}-{time.monotonic_ns()}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", stage.module, json.dumps(stage.options)],
                cwd=REPOSITORY,
                env=os.environ | stage.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # its own children end with it
            )

    def ask(self, item: str, end: float, grace: float) -> dict[str, Any]:
        """The answer to an item, or the status that says why there is none.

        Args:
            item: what to ask.
            end: when the answer must be there, as `time.monotonic` counts; then the child is gone.
            grace: how many seconds before that it is asked to end.
        """
        begin = time.monotonic()
        try:
            self._pipe("stdin").write(json.dumps(item).encode() + b"\n")
            self._pipe("stdin").flush()
        except OSError:
            return self._end("ended before it was asked")
        line = self._line(end - grace)
        if line is None:
            self._signal(signal.SIGTERM)
            self.ended = True
            line = self._line(end)
            if not line:
                return self._end(f"stopped: over its limit of {end - begin:.0f} s")
        if not line:
            return self._end("ended without an answer")
        try:
            return json.loads(line)
        except ValueError:
            return self._end("ended in the middle of its answer")

    def kill(self) -> None:
        """Ends it and its own children."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self.ended = True
        for name in ("stdin", "stdout"):
            with contextlib.suppress(OSError):
                self._pipe(name).close()

    def log(self) -> str:
        """The end of what it printed."""
        text = self._log.read_bytes()[-LOG_BYTES:].decode(errors="replace")
        return f"===== {self._name}, exit code {self._process.returncode}\n{text}\n"

    def _end(self, why: str) -> dict[str, Any]:
        self.kill()
        lines = self._log.read_bytes()[-LOG_BYTES:].decode(errors="replace").strip().splitlines()
        if why.startswith("ended"):
            why = f"failed: {why}, exit code {self._process.returncode}: {(lines or [''])[-1]}"
        return {"status": why}

    def _line(self, end: float) -> bytes | None:
        """A line of its standard output: empty if that is closed, None if the time is over."""
        pipe, found = self._pipe("stdout"), b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while not found.endswith(b"\n"):
                if not selector.select(max(0.0, end - time.monotonic())):
                    return None
                part = os.read(pipe.fileno(), 2**20)
                if not part:
                    return found
                found += part
        return found

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _pipe(self, name: str) -> Any:
        return getattr(self._process, name)
