"""The training loop of every network, from a recipe to WORKDIR/weights.safetensors."""

import contextlib
import dataclasses
import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from clu.metrics import Average
from jax.sharding import Mesh

from sr_jax import weights
from sr_jax.cluster import StopRequest, from_first
from sr_jax.data import photo, pipeline, resident
from sr_jax.data.patches import PatchSampler
from sr_jax.evaluation.validation import validate
from sr_jax.memory import give_back
from sr_jax.mesh import fetch, make_mesh, replicated
from sr_jax.models import count_parameters, describe_model
from sr_jax.models.network import Network
from sr_jax.recipe import Recipe
from sr_jax.storage import write_bytes
from sr_jax.training.adversarial import make_adversarial_step
from sr_jax.training.checkpoints import (
    Checkpoints,
    check_claimed,
    claim_workdir,
    has_checkpoints,
)
from sr_jax.training.clock import Clock
from sr_jax.training.display import Display
from sr_jax.training.events import EventWriter
from sr_jax.training.start import PINNED, pin_start, read_start
from sr_jax.training.state import AdversarialState, State, create_state
from sr_jax.training.steps import Batch, Metrics, compile_step, make_train_step

Update = Callable[[State, Batch], tuple[State, Metrics]]


def train(recipe: Recipe, workdir: Path, *, profile: bool = False) -> None:
    """Trains a network, or goes on where an earlier run of the same workdir stopped.

    Args:
        recipe: the parts; `sr_jax.recipe.read_config` makes them from a config.
        workdir: takes config.json, checkpoints, TensorBoard's event files and, at the end,
            weights.safetensors.
        profile: whether a trace of a few steps is written to WORKDIR/profile.

    Raises:
        ValueError: the recipe, the data or the workdir do not fit; one line says how to mend it.
        FloatingPointError: the loss, the gradient or the parameters are no longer finite.
        SystemExit: SIGTERM or SIGINT came: a checkpoint is saved, the code is 128 + the signal.
    """
    mesh = make_mesh(recipe.sampler.batch_size // (recipe.accumulate or 1))
    begin = None
    recipe = _pin_start(recipe, workdir)
    if recipe.init_from and not has_checkpoints(workdir):  # which nothing is written without
        begin = read_start(recipe.init_from, recipe.model, strict=recipe.init_strict)
    sampler = recipe.sampler.without_small_images()
    with claim_workdir(workdir, recipe.config, recipe.steps) or contextlib.nullcontext():
        _train(recipe, sampler, workdir, mesh, begin, profile)


def _pin_start(recipe: Recipe, workdir: Path) -> Recipe:
    """The recipe with the commit of the Hub that `init_from` stands for, one for all processes."""
    if recipe.init_from is None:
        return recipe
    first = jax.process_index() == 0
    start = from_first(pin_start(recipe.init_from, workdir) if first else "")
    if start == recipe.init_from:
        return recipe
    said = {"init_from": recipe.init_from, PINNED: start}
    return dataclasses.replace(recipe, init_from=start, config={**recipe.config, **said})


def _train(
    recipe: Recipe,
    sampler: PatchSampler,
    workdir: Path,
    mesh: Mesh,
    begin: Mapping[str, np.ndarray] | None,
    profile: bool,
) -> None:
    model = recipe.model
    # ---------------------------------------------------------------------------------- images
    images = resident.place(sampler, mesh, recipe.placement)

    # ------------------------------------------------------------------------ state and updates
    checkpoints = Checkpoints(
        workdir, keep=recipe.keep_checkpoints, keep_every=recipe.keep_checkpoints_every
    )
    if checkpoints.latest_step() is not None:
        state = checkpoints.restore(make_state(recipe, mesh))
        logging.info("resuming at step %d of %s", state.step, workdir)
    else:
        state = make_state(recipe, mesh, begin)
    start, stop = int(state.step), recipe.steps
    updates = make_updates(recipe, mesh, resident_data=images is not None)

    # ------------------------------------------------------------------------------------ loop
    first = jax.process_index() == 0
    writer = EventWriter(workdir if first else None)
    writer.write_hparams(flax.traverse_util.flatten_dict(dict(recipe.config), sep="/"))
    name = describe_model(model)[0]
    machines = f"{mesh.size} device{'s' if mesh.size > 1 else ''}"
    if jax.process_count() > 1:
        machines += f" of {jax.process_count()} processes"
    logging.info(
        "%s: %s parameters; %d images, %d for validation; %s",
        name,
        f"{count_parameters({'params': state.params}):,}",
        len(sampler.images),
        len(recipe.validation),
        machines,
    )
    stream: Iterator[Any]
    if images is None:
        stream = pipeline.batches(sampler, mesh, start, stop, threads=recipe.threads)
    else:
        stream = resident.batches(sampler, images, mesh, start, stop)
    pending: list[Metrics] = []  # of the steps since the last log line, still on the devices
    display = Display(name, start, stop, bar=first)
    # Before anything is trained, which names at once what cannot be validated on.
    for network in (None, (model, fetch(state.variables()))):
        if start == 0 or (network is None and start < stop):
            scores, _ = validate(network, recipe.validation, recipe.scales)
            display.validation(0, scores)
            if start == 0:
                writer.write_scalars(0, scores)
    clock = Clock()
    traced = range(min(start + 10, stop - 1), min(start + 15, stop)) if profile else range(0)
    with (
        contextlib.closing(checkpoints),
        contextlib.closing(writer),
        display,
        StopRequest() as signals,
    ):
        for step in range(start, stop):
            if step in traced[:1]:
                jax.profiler.start_trace(workdir / "profile")
            batch = clock.wait_for_data(stream, pending)
            with clock.devices():
                state, metrics = updates[sampler.scale(step)](state, batch)
                pending.append(metrics)
                jax.block_until_ready(pending[-2:][0])  # at most two steps are under way
            if step in traced[-1:]:
                jax.block_until_ready(state)
                jax.profiler.stop_trace()

            done = step + 1
            display.step(done)
            interrupted = signals.reached(done)
            due = functools.partial(_due, done, stop if not interrupted else done)
            if due(recipe.log_every, recipe.eval_every, recipe.checkpoint_every):
                if first:
                    check_claimed(workdir)
                logged = average_finite(pending, done, checkpoints, workdir)
                logged |= clock.rates(len(pending), sampler.batch_size)
                pending.clear()
                writer.write_scalars(done, logged)
                display.entry(done, logged)
                give_back()  # what compiling took
            if due(recipe.checkpoint_every):
                checkpoints.save(done, state)
            if interrupted and done < stop:
                checkpoints.wait()
                logging.warning(
                    "signal %d: saved step %d; the same command goes on from there",
                    signals.signal,
                    done,
                )
                raise SystemExit(128 + signals.signal)
            if due(recipe.eval_every):
                variables = fetch(state.variables())
                scores, pictures = validate((model, variables), recipe.validation, recipe.scales)
                writer.write_scalars(done, scores)
                writer.write_images(done, pictures)
                best = keep_best(workdir, done, scores, model, variables) if first else ""
                display.validation(done, scores, best)
                clock.restart()

    # ------------------------------------------------------------------------------------- end
    if first:
        weights.save(workdir / "weights.safetensors", model, fetch(state.variables()))
    logging.info("finished at step %d: %s", stop, workdir / "weights.safetensors")


def keep_best(
    workdir: Path,
    step: int,
    scores: Mapping[str, float],
    model: Network,
    variables: Mapping[str, Any],
) -> str:
    """Writes WORKDIR/weights-best.safetensors if no validation before gave as high a PSNR.

    The mean over the scales counts. WORKDIR/best.json says which step it is, and its PSNR.

    Returns:
        What to say of the best one behind the scores.
    """
    found = [value for name, value in scores.items() if "psnr" in name]
    record = workdir / "best.json"
    try:
        read = json.loads(record.read_text())
        best, best_step = float(read["psnr"]), read["step"]
    except (OSError, ValueError, KeyError, TypeError):
        best, best_step = -math.inf, None
    psnr = float(np.mean(found)) if found else -math.inf
    if psnr > best:
        weights.save(workdir / "weights-best.safetensors", model, variables)
        write_bytes(record, json.dumps({"step": step, "psnr": psnr}).encode())
        return ", the best"
    return f", best {best:.2f} at {best_step}" if best_step is not None else ""


def _due(done: int, stop: int, *intervals: int) -> bool:
    """Whether one of the intervals ends with this step; all do with the last."""
    return done == stop or any(done % interval == 0 for interval in intervals)


def make_state(
    recipe: Recipe, mesh: Mesh, start_from: Mapping[str, np.ndarray] | None = None
) -> State:
    """The state of step 0.

    Args:
        recipe: what is trained.
        mesh: the devices.
        start_from: variables by path that are not drawn anew, see `read_start`.
    """
    create = functools.partial(
        create_state, optimizer=recipe.optimizer, mesh=mesh, dtype=jnp.dtype(recipe.dtype)
    )
    state = create(recipe.model, seed=recipe.seed, ema=recipe.ema_decay > 0, start_from=start_from)
    if recipe.adversary is None:
        return state
    return AdversarialState(state, create(recipe.adversary.discriminator, seed=recipe.seed + 1))


def make_updates(recipe: Recipe, mesh: Mesh, *, resident_data: bool = False) -> dict[int, Update]:
    """The compiled updates, by the scale of the step.

    A network that takes the scale in each call has one for each; all others have one for all.

    Args:
        recipe: what is trained.
        mesh: the devices.
        resident_data: whether the updates take what `resident.batches` yields, not batches.
    """
    model, sampler, adversary = recipe.model, recipe.sampler, recipe.adversary
    options: dict[str, Any] = {
        "dtype": jnp.dtype(recipe.dtype),
        "accumulate": recipe.accumulate,
        "ema_decay": recipe.ema_decay,
        "remat": recipe.remat,
    }
    loss = jax.device_put(recipe.loss, replicated(mesh))

    @functools.cache
    def compiled(scale: int | None) -> Update:
        step: Callable[..., Any]
        if adversary is None:
            step = make_train_step(model, recipe.optimizer, recipe.schedule, scale=scale, **options)
        else:
            step = make_adversarial_step(
                model,
                adversary.discriminator,
                recipe.optimizer,
                recipe.schedule,
                weight=adversary.weight,
                **options,
            )
        if recipe.degradation == "photo":
            step = photo.degrade_in_step(step, recipe.seed)
        if not resident_data:
            return compile_step(step, mesh, loss)
        factor = 1 if model.takes_interpolated else (scale or recipe.scales[0])
        step = resident.cut_in_step(step, sampler.patch_size, factor)
        return compile_step(step, mesh, loss, resident.SPECS)

    return {scale: compiled(model.call_scale(scale)) for scale in recipe.scales}


def average_finite(
    pending: list[Metrics], done: int, checkpoints: Checkpoints, workdir: Path
) -> dict[str, float]:
    """The mean metrics of the last steps; an error if any of them, PSNR aside, is not finite.

    Raises:
        FloatingPointError: names the first bad step and the last good checkpoint.
    """
    fetched = jax.device_get(pending)
    for offset, metrics in enumerate(fetched):
        bad = [n for n, value in metrics.items() if n != "psnr" and not np.isfinite(value)]
        if bad:
            checkpoints.wait()
            values = ", ".join(f"{name} {metrics[name]}" for name in bad)
            good = checkpoints.good_step
            place = f"the last good checkpoint is step {good} in" if good else "no checkpoint is in"
            raise FloatingPointError(
                f"step {done - len(fetched) + offset + 1}: {values}; {place} {workdir}. Lower "
                "optimizer.learning_rate or set optimizer.clip, and run the same command again"
            )
    means = {}
    for name in fetched[0]:
        found = np.array([metrics[name] for metrics in fetched])
        means[f"train/{name}"] = float(Average.from_model_output(found).compute())
    means["train/learning_rate"] = float(fetched[-1]["learning_rate"])
    return means
