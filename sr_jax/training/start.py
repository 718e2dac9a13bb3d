"""Starting points: variables of another training that a network begins with."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np
from absl import logging

from sr_jax import weights
from sr_jax.models import create_model, describe_model
from sr_jax.models.network import Network
from sr_jax.training.checkpoints import read_variables

# Hyper-parameters that no shape shows. With another value the same weights are another network.
UNSEEN = ("res_scale", "rgb_range", "padding", "output", "bn_epsilon")


def read_start(path: str, model: Network, *, strict: bool = True) -> dict[str, np.ndarray]:
    """The variables of another training that fit a network, by path.

    For the recipes that start one scale from another: what has no counterpart or another shape
    (the upsampler) keeps its fresh initialisation. What is taken and what is not goes to the log.

    Args:
        path: a weights file, a workdir, or the name of a network that comes with sr_jax. Of a
            workdir whose training has not finished, the newest checkpoint is taken.
        model: the network to be trained.
        strict: whether it must have the other network's values of `UNSEEN`.

    Raises:
        ValueError: no such file, nothing in it fits, or a value of `UNSEEN` differs.
    """
    try:
        other, variables = _read(path, (describe_model(model)[0],))
    except ValueError as error:
        raise ValueError(f"init_from: {error}") from None
    _check_unseen(path, other, model, strict)
    found = _flat(variables)
    wanted = _flat(weights.variable_shapes(model))
    taken = {
        name: np.asarray(value)
        for name, value in found.items()
        if name in wanted and wanted[name].shape == value.shape
    }
    if not taken:
        raise ValueError(f"init_from {path}: none of its tensors fits this network")
    fresh = sorted(wanted.keys() - taken.keys())
    unused = sorted(found.keys() - taken.keys())
    for what, names in (
        ("taken", sorted(taken)),
        ("freshly initialised", fresh),
        ("not taken", unused),
    ):
        logging.info("init_from %s: %s %s", path, what, ", ".join(names) or "nothing")
    return taken


def _read(name: str, allow: Collection[str]) -> tuple[Network, Any]:
    """Of a weights file or a network of ours, or of a workdir the newest that it holds."""
    path = Path(name)
    if (path / "checkpoints").is_dir() and not (path / "weights.safetensors").exists():
        return load_run(path, allow=allow)[:2]
    return weights.load(weights.find(name), allow=allow)


def _check_unseen(path: str, other: Network, model: Network, strict: bool) -> None:
    theirs, ours = other.hyperparameters, model.hyperparameters
    differing = [
        f"{name} is {theirs[name]} there and {ours[name]} here"
        for name in UNSEEN
        if name in theirs and name in ours and theirs[name] != ours[name]
    ]
    if differing and strict:
        raise ValueError(
            f"init_from {path}: {'; '.join(differing)}, so that its weights would be another "
            "network: give that value (model....), or set init_strict to False"
        )
    for line in differing:
        logging.warning("init_from %s: %s", path, line)


def load_run(
    workdir: Path, *, allow: Collection[str] = (), step: int | None = None
) -> tuple[Network, dict[str, Any], int]:
    """The network of a training that may still go on.

    Args:
        workdir: of the training.
        allow: import paths of networks outside this package that may be imported.
        step: of the checkpoint; None is the newest.

    Returns:
        (model, variables, step).

    Raises:
        ValueError: no workdir, no such checkpoint, or it cannot be read.
    """
    if not (workdir / "checkpoints").is_dir():
        raise ValueError(
            f"{workdir} holds neither weights.safetensors nor checkpoints: it is no workdir"
        )
    try:
        fields = json.loads((workdir / "config.json").read_text())["model"]
        model = create_model(allow=allow, **fields)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{workdir / 'config.json'} does not say the network: {error}") from None
    variables, found = read_variables(workdir, step)
    weights.check_variables(workdir, model, _flat(variables))
    return model, variables, found


def _flat(tree: Any) -> dict[str, Any]:
    return flax.traverse_util.flatten_dict(dict(tree), sep="/")
