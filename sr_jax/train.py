"""The training loop of every network, from a config to WORKDIR/weights.safetensors."""

import functools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from clu import metric_writers
from ml_collections import ConfigDict
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sr_jax import weights
from sr_jax.data import sources
from sr_jax.data.pipeline import ImageCache, PatchSampler, batches
from sr_jax.data.sources import ImagePair
from sr_jax.evaluate import Network, score_image
from sr_jax.imaging.resize import imresize
from sr_jax.models import count_parameters, create_model, describe_model, network_scales
from sr_jax.sharding import fetch, make_mesh
from sr_jax.training.checkpoints import Checkpoints, claim_workdir
from sr_jax.training.losses import get_loss
from sr_jax.training.optimizers import make_optimizer, make_schedule
from sr_jax.training.state import create_state
from sr_jax.training.steps import Metrics, make_train_step

PICTURE_SIZE = 192  # side of the sample pictures in TensorBoard, pixels
PICTURES = 3


def train(config: ConfigDict, workdir: Path) -> None:
    """Trains a network, or goes on where an earlier run of the same workdir stopped.

    Args:
        config: see configs/common.py for every field.
        workdir: takes config.json, checkpoints, TensorBoard's event files and, at the end,
            weights.safetensors.

    Raises:
        ValueError: the config, the data or the workdir do not fit; one line says how to mend it.
        FloatingPointError: the loss or the gradient is no longer finite.
    """
    # ----------------------------------------------------------------------- network and recipe
    model = create_model(**config.model)
    _check_scales(model, config.data.scales)
    schedule = make_schedule(config.optimizer)
    optimizer = make_optimizer(config.optimizer)
    mesh = make_mesh(config.data.batch_size)
    claim_workdir(workdir, config)

    # ---------------------------------------------------------------------------------- images
    sampler = make_sampler(config, model)
    validation = load_images(config, "validation")[: config.train.eval_images]

    # ----------------------------------------------------------------------------------- state
    state = create_state(
        model,
        optimizer,
        mesh,
        seed=config.seed,
        ema=config.train.ema > 0,
        start_from=read_start(config.init_from, model) if config.init_from else None,
    )
    checkpoints = Checkpoints(workdir, keep=config.train.keep_checkpoints)
    if checkpoints.latest_step() is not None:
        state = checkpoints.restore(state)
        logging.info("resuming at step %d of %s", state.step, workdir)
    start, stop = int(state.step), config.train.steps

    train_step = make_train_step(
        model,
        optimizer,
        schedule,
        get_loss(config.loss.name),
        mesh,
        loss_scale=config.loss.scale,
        dtype=jnp.dtype(config.train.dtype),
        accumulate=config.train.accumulate,
        ema_decay=config.train.ema,
    )

    # ------------------------------------------------------------------------------------ loop
    first = jax.process_index() == 0
    writer = metric_writers.create_default_writer(workdir, just_logging=not first)
    writer.write_hparams(_flat(config))
    name = describe_model(model)[0]
    logging.info(
        "%s, %d parameters, %d training images, %d validation images, %d devices",
        name,
        count_parameters({"params": state.params}),
        len(sampler.images),
        len(validation),
        mesh.size,
    )
    stream = batches(sampler, mesh, start, stop, threads=config.data.threads)
    pending: list[Metrics] = []  # of the steps since the last log line, still on the devices
    if start == 0:  # also tells at once of a validation image that cannot be read
        writer.write_scalars(0, validate(None, validation, config.data.scales)[0])
    clock = Clock()
    with Progress(
        TextColumn(name),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(),
        disable=not first,
    ) as progress:
        bar = progress.add_task("", total=stop, completed=start, status="compiling")
        for step in range(start, stop):
            batch = clock.wait_for(stream, pending)
            state, metrics = train_step(state, batch)
            pending.append(metrics)
            jax.block_until_ready(pending[-2:][0])  # at most two steps are under way

            done = step + 1
            due = functools.partial(_due, done, stop)
            if due(config.train.log_every, config.train.eval_every, config.train.checkpoint_every):
                logged = average_finite(pending, done, checkpoints, workdir)
                logged |= clock.rates(len(pending), config.data.batch_size)
                pending.clear()
                writer.write_scalars(done, logged)
                loss, speed = logged["train/loss"], logged["speed/images_per_second"]
                status = f"loss {loss:.4g}  {speed:.4g} images/s"
                progress.update(bar, completed=done, status=status)
            if due(config.train.checkpoint_every):
                checkpoints.save(done, state)
            if due(config.train.eval_every):
                variables = fetch(state.variables())
                scores, pictures = validate((model, variables), validation, config.data.scales)
                writer.write_scalars(done, scores)
                writer.write_images(done, pictures)
                clock.restart()

    # ------------------------------------------------------------------------------------- end
    checkpoints.close()
    writer.close()
    if first:
        weights.save(workdir / "weights.safetensors", model, fetch(state.variables()))
    logging.info("finished at step %d: %s", stop, workdir / "weights.safetensors")


def _due(done: int, stop: int, *intervals: int) -> bool:
    """Whether one of the intervals ends with this step; all do with the last."""
    return done == stop or any(done % interval == 0 for interval in intervals)


def _check_scales(model: nn.Module, scales: tuple[int, ...]) -> None:
    known = network_scales(model)
    if known is not None and len(known) != 1:
        raise ValueError(f"{describe_model(model)[0]} cannot be trained by this loop yet")
    if not model.takes_interpolated and tuple(scales) != known:
        raise ValueError(
            f"data.scales is {tuple(scales)}, but model.scale is {model.scale}: make them agree"
        )


def load_images(config: ConfigDict, split: str) -> tuple[ImagePair, ...]:
    """The images of a recipe: 'train' or 'validation'."""
    data = config.data
    return sources.load(data.source, split, path=data.path, scales=data.scales)


def make_sampler(config: ConfigDict, model: nn.Module) -> PatchSampler:
    """What draws the training patches of a recipe."""
    return PatchSampler(
        load_images(config, "train"),
        tuple(config.data.scales),
        config.data.lr_patch_size,
        config.data.batch_size,
        config.seed,
        n_colors=model.n_colors,
        interpolated=model.takes_interpolated,
        cache=ImageCache(config.data.cache_megabytes * 2**20),
    )


class Clock:
    """Measures the rate of training, and for how much of it the devices wait for data."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forgets what was measured so far."""
        self._start = time.perf_counter()
        self._starved = 0.0

    def wait_for(self, stream: Any, pending: list[Metrics]) -> Any:
        """The next batch. Waiting counts as lost when the devices finished their work meanwhile."""
        start = time.perf_counter()
        batch = next(stream)
        last: Any = pending[-1]["loss"] if pending else None
        if last is not None and last.is_ready():
            self._starved += time.perf_counter() - start
        return batch

    def rates(self, steps: int, batch_size: int) -> dict[str, float]:
        """Rates since the last call, and a fresh start."""
        seconds = time.perf_counter() - self._start
        starved = self._starved
        self.restart()
        return {
            "speed/images_per_second": steps * batch_size / seconds,
            "speed/seconds_per_step": seconds / steps,
            "speed/data_wait_share": starved / seconds,
        }


def average_finite(
    pending: list[Metrics], done: int, checkpoints: Checkpoints, workdir: Path
) -> dict[str, float]:
    """The mean metrics of the last steps; an error if any is not finite.

    Raises:
        FloatingPointError: names the first bad step and the last good checkpoint.
    """
    fetched = jax.device_get(pending)
    for offset, metrics in enumerate(fetched):
        if not (np.isfinite(metrics["loss"]) and np.isfinite(metrics["gradient_norm"])):
            checkpoints.wait()
            raise FloatingPointError(
                f"step {done - len(fetched) + offset + 1}: loss {metrics['loss']}, gradient norm "
                f"{metrics['gradient_norm']}; the last good checkpoint is step "
                f"{checkpoints.latest_step()} in {workdir}. Lower optimizer.learning_rate or set "
                "optimizer.clip, and run the same command to go on from there"
            )
    means = {f"train/{name}": float(np.mean([m[name] for m in fetched])) for name in fetched[0]}
    means["train/learning_rate"] = float(fetched[-1]["learning_rate"])
    return means


def validate(
    network: Network | None, images: Sequence[ImagePair], scales: tuple[int, ...]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """PSNR and SSIM of the luma on the validation images, and pictures of the first few.

    Args:
        network: (model, variables), or None for bicubic interpolation.
        images: the validation images.
        scales: the scales to validate at.

    Returns:
        Means by scale, such as 'validation/psnr_x2' ('validation/bicubic_psnr_x2'), and pictures
        (1, H, 3 * W, 3) uint8 of bicubic interpolation, the network and the original side by side.
    """
    kind = "validation/" if network else "validation/bicubic_"
    scores: dict[str, list[float]] = {}
    pictures: dict[str, np.ndarray] = {}
    for scale in scales:
        for index, image in enumerate(images):
            psnr, ssim, result = score_image(image, scale, network)
            scores.setdefault(f"{kind}psnr_x{scale}", []).append(psnr)
            scores.setdefault(f"{kind}ssim_x{scale}", []).append(ssim)
            if index < PICTURES:
                lr, hr = image.pair(scale)
                panels = [_centre(panel) for panel in (imresize(lr, scale), result, hr)]
                pictures[f"x{scale}/{image.name}"] = np.concatenate(panels, axis=1)[None]
    return {name: float(np.mean(values)) for name, values in scores.items()}, pictures


def _centre(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, (side - PICTURE_SIZE) // 2) for side in image.shape[:2])
    return image[top : top + PICTURE_SIZE, left : left + PICTURE_SIZE]


def read_start(path: str, model: nn.Module) -> dict[str, np.ndarray]:
    """The parameters of a weights file that fit another network, by path.

    For the recipes that start one scale from another: what has no counterpart or another shape
    (the upsampler) keeps its fresh initialisation. What is taken and what is not goes to the log.

    Args:
        path: a weights file or a workdir.
        model: the network to be trained.

    Raises:
        ValueError: no such file, or nothing in it fits.
    """
    _, variables = weights.load(weights.find(path))
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
    logging.info("init_from %s: taken %s", path, ", ".join(sorted(taken)))
    logging.info("init_from %s: freshly initialised %s", path, ", ".join(fresh) or "nothing")
    return taken


def _flat(tree: Any) -> dict[str, Any]:
    if isinstance(tree, ConfigDict):
        tree = json.loads(tree.to_json_best_effort())
    return flax.traverse_util.flatten_dict(dict(tree), sep="/")
