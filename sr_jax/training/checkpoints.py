"""Checkpoints of a training run, and the config that a workdir belongs to. All of Orbax is here."""

import json
from pathlib import Path

import jax
import orbax.checkpoint as ocp
from ml_collections import ConfigDict

from sr_jax.imaging.files import write_bytes
from sr_jax.training.state import TrainState


class Checkpoints:
    """The checkpoints of a workdir: written in the background, whole or not at all.

    Attributes:
        folder: WORKDIR/checkpoints, one folder a step.
    """

    def __init__(self, workdir: Path, *, keep: int) -> None:
        self.folder = workdir.absolute() / "checkpoints"
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True)
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def latest_step(self) -> int | None:
        """The step of the newest checkpoint, None where there is none."""
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState) -> None:
        """Starts to write a checkpoint; waits for the previous one first."""
        self._manager.save(step, args=ocp.args.StandardSave(state))

    def restore(self, like: TrainState) -> TrainState:
        """Reads the newest checkpoint into arrays sharded as those of `like`."""
        abstract = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), like
        )
        return self._manager.restore(self.latest_step(), args=ocp.args.StandardRestore(abstract))

    def wait(self) -> None:
        """Returns once everything is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and ends the background threads."""
        self._manager.close()


def claim_workdir(workdir: Path, config: ConfigDict) -> None:
    """Makes a workdir this config's own, or checks that it is.

    Writes WORKDIR/config.json (by process 0). Where there is one already, its model must be the
    same; other fields may change, and the file is brought up to date.

    Raises:
        ValueError: the workdir belongs to another network; the fields that differ are listed.
    """
    path = workdir / "config.json"
    current = json.loads(config.to_json_best_effort())
    if path.exists():
        try:
            stored = json.loads(path.read_text())["model"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is damaged ({error}): restore it or take another --workdir"
            ) from None
        differences = [
            f"model.{field} is {stored.get(field)!r} there and {current['model'].get(field)!r} here"
            for field in sorted(stored.keys() | current["model"].keys())
            if stored.get(field) != current["model"].get(field)
        ]
        if differences:
            raise ValueError(
                f"{workdir} holds the training of another network ({'; '.join(differences)}): "
                "take another --workdir, or the config that it was started with"
            )
    if jax.process_index() == 0:
        write_bytes(path, json.dumps(current, indent=2).encode())
