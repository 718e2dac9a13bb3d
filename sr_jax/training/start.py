"""Starting points: variables of another training that a network begins with."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np
from absl import logging

from sr_jax import hub, weights
from sr_jax.models import create_model, describe_model
from sr_jax.models.network import Network
from sr_jax.training.checkpoints import has_checkpoints, read_variables

# Where WORKDIR/config.json says which commit of the Hub `init_from` stood for.
PINNED = "init_from_pinned"

# Hyper-parameters that no shape shows. With another value the same weights are another network.
UNSEEN = ("res_scale", "rgb_range", "padding", "output", "bn_epsilon")


def read_start(path: str, model: Network, *, strict: bool = True) -> dict[str, np.ndarray]:
    """The variables of another training that fit a network, by path.

    For the recipes that start one scale from another: what has no counterpart or another shape
    (the upsampler) keeps its fresh initialisation. What is taken and what is not goes to the log.

    Args:
        path: a weights file, also on the Hugging Face Hub (hf:...), a workdir, or the name of a
            network that comes with sr_jax. Of a workdir whose training has not finished, the newest
            checkpoint is taken.
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


def pin_start(init_from: str, workdir: Path) -> str:
    """What `init_from` stands for in a training, whatever becomes of a branch of the Hub.

    Args:
        init_from: as `read_start` takes it.
        workdir: of the training. The commit that it began with holds when it goes on.

    Returns:
        Of a name on the Hub, that with its commit and file; anything else as it is.

    Raises:
        ValueError: see `hub.fetch`.
    """
    try:
        before = json.loads((workdir / "config.json").read_text())
        same, pinned = before["init_from"] == init_from, before[PINNED]
    except (OSError, ValueError, KeyError, TypeError):  # none; `claim_workdir` tells a damaged one
        same, pinned = False, None
    began = has_checkpoints(workdir)
    if pinned and (began or same):
        logging.info("init_from %s: %s, as this training began", init_from, pinned)
        return pinned
    if began or not hub.is_name(init_from):
        return init_from
    try:
        fetched = hub.fetch(init_from)
    except ValueError as error:
        raise ValueError(f"init_from: {error}") from None
    logging.info("init_from %s: %s", init_from, fetched.note)
    return fetched.pinned


def _read(name: str, allow: Collection[str]) -> tuple[Network, Any]:
    """Of a weights file or a network of ours, or of a workdir the newest that it holds."""
    if hub.is_name(name):
        fetched = hub.fetch(name)
        if not weights.is_weights_file(fetched.path):
            raise ValueError(
                f"{name} is a published checkpoint: make a weights file of it, `sr-jax convert "
                f"{fetched.pinned} {fetched.path.name}`"
            )
        return weights.load(fetched.path, allow=allow)
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
