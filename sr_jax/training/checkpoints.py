"""Checkpoints of a training run, and the config that a workdir belongs to. All of Orbax is here."""

import contextlib
import json
import shutil
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import flax.traverse_util
import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from sr_jax.cluster import all_agree
from sr_jax.storage import check_local, write_bytes
from sr_jax.training.state import State

# The parts of a checkpoint: the state, and a checksum of each of its arrays.
STATE, CHECKSUMS = "default", "checksums"


class Checkpoints:
    """The checkpoints of a workdir: written in the background, whole or not at all.

    Attributes:
        folder: WORKDIR/checkpoints, one folder a step.
        good_step: the newest step that this object has written, or read and found unaltered; None
            where it has not done so.
    """

    def __init__(self, workdir: Path, *, keep: int, keep_every: int = 0) -> None:
        """Opens or makes the folder.

        Args:
            workdir: of the training.
            keep: how many of the newest checkpoints stay.
            keep_every: those of multiples of this step stay for ever; 0: none does.
        """
        self.folder = workdir.absolute() / "checkpoints"
        self.good_step: int | None = None
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            keep_period=keep_every or None,
            enable_async_checkpointing=True,
        )
        if jax.process_index() == 0:
            # What a killed run left half-written. (Orbax would do this in the background, and
            # an error in the meantime would end in a trace of its threads.)
            for folder in self.folder.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(folder)
        with self._clear_errors():
            self._manager = ocp.CheckpointManager(
                self.folder,
                options=options,
                item_names=(STATE, CHECKSUMS),
                item_handlers={
                    STATE: ocp.StandardCheckpointHandler(),
                    CHECKSUMS: ocp.JsonCheckpointHandler(),
                },
            )

    def latest_step(self) -> int | None:
        """The step of the newest checkpoint, None where there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: State) -> None:
        """Starts to write a checkpoint; waits for the previous one first.

        Does nothing where there is one of this step already.

        Raises:
            OSError: this or the previous one cannot be written.
        """
        with self._clear_errors():
            if step != self.latest_step():
                parts = {
                    STATE: ocp.args.StandardSave(state),
                    CHECKSUMS: ocp.args.JsonSave(_checksums(state)),
                }
                self._manager.save(step, args=ocp.args.Composite(**parts))
            self.good_step = step

    def restore(self, like: State) -> State:
        """Reads the newest readable checkpoint into arrays sharded as those of `like`.

        A checkpoint that cannot be read is named in the log and moved to
        WORKDIR/checkpoints-unreadable.

        Raises:
            ValueError: the checkpoints are of another kind of state, or none is readable.
        """
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like
        )
        for step in sorted(self._manager.all_steps(), reverse=True):
            state: Any = None
            try:
                stored = _shapes(self._manager.item_metadata(step)[STATE])
                reason = "" if stored else "its list of arrays is missing"
                if stored and stored == _shapes(like):
                    parts = {STATE: ocp.args.StandardRestore(abstract)}
                    found = self._manager.restore(step, args=ocp.args.Composite(**parts))[STATE]
                    _check(found, _read_checksums(self.folder / str(step)))
                    state = found
            except Exception as error:  # whatever a damaged file brings about in the libraries
                stored, reason = {}, f"{type(error).__name__}: {error}"
            if all_agree(state is not None):
                self.good_step = step
                return state
            if stored:
                raise ValueError(
                    f"{self.folder / str(step)} was written with another optimizer.name, train.ema "
                    f"or adversarial network ({_difference(stored, _shapes(like))}): take another "
                    "workdir, or the config that it was started with"
                )
            self._set_aside(step, reason)
        raise ValueError(
            f"none of the checkpoints of {self.folder} can be read (moved to {self._unreadable}): "
            "run the same command again to begin anew"
        )

    @property
    def _unreadable(self) -> Path:
        return self.folder.with_name("checkpoints-unreadable")

    def _set_aside(self, step: int, reason: str) -> None:
        folder = self.folder / str(step)
        logging.warning(
            "checkpoint %s cannot be read (%s): going back to the one before it",
            folder,
            " ".join(reason.split())[:200],
        )
        if jax.process_index() == 0:
            self._unreadable.mkdir(exist_ok=True)
            taken = len(list(self._unreadable.glob(f"{step}*")))
            folder.rename(self._unreadable / (f"{step}-{taken}" if taken else str(step)))
        all_agree(True)  # the others wait for the renaming
        self._manager.reload()

    def wait(self) -> None:
        """Returns once everything is on disk."""
        with self._clear_errors():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and ends the background threads."""
        with self._clear_errors():
            self._manager.close()

    @contextlib.contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Turns what the libraries raise, from pages of text, into one line."""
        try:
            yield
        except Exception as error:
            whole = _steps(self.folder)
            reason = " ".join(str(error).split())
            raise OSError(
                f"cannot write a checkpoint to {self.folder} ({reason[:300]}); the newest whole "
                f"one is step {whole[-1] if whole else 'none'}: mend this and run the same command "
                "to go on from there"
            ) from error


def read_variables(workdir: Path, step: int | None = None) -> tuple[dict[str, Any], int]:
    """The variables that a checkpoint of a training would ship, on one device, and its step.

    The average of the parameters where there is one.

    Args:
        workdir: of the training.
        step: None is the newest that can be read.

    Raises:
        ValueError: there is no such checkpoint, or it cannot be read.
    """
    folder = workdir.absolute() / "checkpoints"
    steps = _steps(folder)
    if not steps:
        raise ValueError(f"no checkpoint in {folder}")
    if step is not None:
        if step not in steps:
            known = ", ".join(map(str, steps[-10:]))
            raise ValueError(f"no checkpoint of step {step} in {folder}; there are {known}")
        return _read_variables(folder / str(step)), step
    failures = []
    for newest in reversed(steps):
        try:
            return _read_variables(folder / str(newest)), newest
        except ValueError as error:
            logging.warning("%s", error)
            failures.append(error)
    raise failures[0]


def _read_variables(folder: Path) -> dict[str, Any]:
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    try:
        reader, place = ocp.StandardCheckpointHandler(), folder / STATE
        like = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
            reader.metadata(place).tree,
        )
        tree = reader.restore(place, args=ocp.args.StandardRestore(like))
        _check(tree, _read_checksums(place.parent))
    except Exception as error:  # whatever a damaged file brings about in the libraries
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"cannot read checkpoint {folder}: {reason}") from error
    tree = tree.get("generator", tree)
    return {"params": tree["ema"] or tree["params"], **tree["rest"]}


def _checksums(state: Any) -> dict[str, int]:
    """Path -> CRC-32 of every array's bytes."""
    return {path: zlib.crc32(_bytes(leaf)) for path, leaf in _leaves(state).items()}


def _bytes(leaf: Any) -> memoryview:
    array = leaf.addressable_data(0) if isinstance(leaf, jax.Array) else leaf
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _read_checksums(folder: Path) -> dict[str, int] | None:
    """Those of a checkpoint; None where it was written without."""
    place = folder / CHECKSUMS
    if not place.exists():
        return None
    return ocp.JsonCheckpointHandler().restore(place, args=ocp.args.JsonRestore())


def _check(state: Any, expected: dict[str, int] | None) -> None:
    """Raises ValueError where an array is not the one that was written."""
    if expected is None:
        return
    found = _checksums(state)
    altered = sorted(path for path in expected if found.get(path) != expected[path])
    if altered or found.keys() != expected.keys():
        raise ValueError(f"altered since it was written: {', '.join(altered[:3]) or 'its arrays'}")


def has_checkpoints(workdir: Path) -> bool:
    """Whether a training would go on there."""
    return bool(_steps(workdir / "checkpoints"))


def _steps(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.glob("[0-9]*") if path.name.isdecimal())


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Path -> shape of all arrays of a state, or of what Orbax tells of a checkpoint."""
    return {path: tuple(leaf.shape) for path, leaf in _leaves(tree).items()}


def _leaves(tree: Any) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        "/".join(
            str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", key)))) for key in path
        ): leaf
        for path, leaf in leaves
        if leaf is not None
    }


def _difference(stored: dict[str, Any], wanted: dict[str, Any]) -> str:
    differing = [k for k in sorted(stored.keys() | wanted.keys()) if stored.get(k) != wanted.get(k)]
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    return f"{', '.join(differing[:3])}{more} differ"


def claim_workdir(workdir: Path, config: Mapping[str, Any], steps: int) -> IO[str] | None:
    """Makes a workdir this config's own, or checks that it is.

    Writes WORKDIR/config.json, by process 0. Where there is one already, its model must be the
    same; other fields may change, which the log tells, and the file is brought up to date. But
    that of a training that has finished stays.

    Args:
        workdir: of the training.
        config: a tree of plain values.
        steps: that are asked for.

    Returns:
        WORKDIR/lock, which no other training can take before it is closed or this process ends;
        None in processes but the first.

    Raises:
        ValueError: the workdir belongs to another network, and the fields that differ are listed;
            another training is at work there; or it is no path of this machine.
    """
    check_local("workdir", workdir)
    lock = _lock(workdir) if jax.process_index() == 0 else None
    path = workdir / "config.json"
    model = dict(config.get("model", {}))
    if path.exists():
        try:
            before = json.loads(path.read_text())
            stored = before["model"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is damaged ({error}): restore it or take another workdir"
            ) from None
        differences = [
            f"model.{field} is {stored.get(field)!r} there and {model.get(field)!r} here"
            for field in sorted(stored.keys() | model.keys())
            if stored.get(field) != model.get(field)
        ]
        if differences:
            raise ValueError(
                f"{workdir} holds the training of another network ({'; '.join(differences)}): "
                "take another workdir, or the config that it was started with"
            )
        then, now = (flax.traverse_util.flatten_dict(dict(c), sep=".") for c in (before, config))
        finished = _is_finished(workdir, steps)
        text = "%s was %r; %r changes nothing" if finished else "%s was %r, is %r from now on"
        for name in sorted(then.keys() | now.keys()):
            if then.get(name) != now.get(name):
                logging.warning(text, name, then.get(name), now.get(name))
        if finished:
            logging.warning("%s has finished %d steps or more: nothing to train", workdir, steps)
            return lock
    if jax.process_index() == 0:
        write_bytes(path, json.dumps(config, indent=2).encode())
    return lock


def check_claimed(workdir: Path) -> None:
    """Raises FileNotFoundError where a claimed workdir was removed since, as WORKDIR/config.json.

    Else what is written next would make a folder that no training can go on from.
    """
    if not (workdir / "config.json").exists():
        raise FileNotFoundError(f"{workdir} was removed while its training ran: stopped")


def _is_finished(workdir: Path, steps: int) -> bool:
    done = _steps(workdir / "checkpoints")
    return bool(done) and done[-1] >= steps and (workdir / "weights.safetensors").exists()


def _lock(workdir: Path) -> IO[str] | None:
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    workdir.mkdir(parents=True, exist_ok=True)
    file = (workdir / "lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(
            f"another training is at work in {workdir}: take another workdir or wait; processes of "
            "one training need --coordinator, --num_processes and --process_id"
        ) from None
    except OSError:  # a file system without locks
        pass
    return file
