"""The training loop of every network, from a config to WORKDIR/weights.safetensors."""

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from clu.metrics import Average
from jax.sharding import Mesh
from ml_collections import ConfigDict
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    track,
)

from sr_jax import weights
from sr_jax.data import pipeline, resident, sources
from sr_jax.data.patches import ImageCache, PatchSampler
from sr_jax.data.sources import ImagePair
from sr_jax.imaging.resize import imresize
from sr_jax.models import count_parameters, create_model, describe_model
from sr_jax.models.network import Network
from sr_jax.perceptual import FEATURE_LOSSES, feature_loss
from sr_jax.scoring import Loaded, score_image
from sr_jax.sharding import StopRequest, fetch, make_mesh, replicated, sum_over_processes
from sr_jax.training.adversarial import make_adversarial_step
from sr_jax.training.checkpoints import Checkpoints, claim_workdir, read_variables
from sr_jax.training.events import EventWriter
from sr_jax.training.losses import get_loss
from sr_jax.training.optimizers import make_optimizer, make_schedule
from sr_jax.training.state import AdversarialState, State, create_state
from sr_jax.training.steps import Batch, Metrics, compile_step, make_train_step

Update = Callable[[State, Batch], tuple[State, Metrics]]

PICTURE_SIZE = 192  # side of the sample pictures in TensorBoard, pixels
PICTURES = 3


def train(config: ConfigDict, workdir: Path, *, profile: bool = False) -> None:
    """Trains a network, or goes on where an earlier run of the same workdir stopped.

    Args:
        config: see configs/common.py for every field.
        workdir: takes config.json, checkpoints, TensorBoard's event files and, at the end,
            weights.safetensors.
        profile: whether a trace of a few steps is written to WORKDIR/profile.

    Raises:
        ValueError: the config, the data or the workdir do not fit; one line says how to mend it.
        FloatingPointError: the loss, the gradient or the parameters are no longer finite.
        SystemExit: SIGTERM or SIGINT came: a checkpoint is saved, the code is 128 + the signal.
    """
    # ----------------------------------------------------------------------- network and recipe
    # A config that names a network outside sr_jax allows it.
    model = create_model(**config.model, allow=(config.model.name,))
    check_recipe(config, model)
    mesh = make_mesh(config.data.batch_size // (config.train.accumulate or 1))
    claim_workdir(workdir, config)

    # ---------------------------------------------------------------------------------- images
    sampler = make_sampler(config, model)
    images = resident.place(sampler, mesh, config.data.placement)
    validation = load_images(config, "validation")[: config.train.eval_images]

    # ------------------------------------------------------------------------ state and updates
    checkpoints = Checkpoints(
        workdir,
        keep=config.train.keep_checkpoints,
        keep_every=config.train.keep_checkpoints_every,
    )
    if checkpoints.latest_step() is not None:
        state = checkpoints.restore(make_state(config, model, mesh))
        logging.info("resuming at step %d of %s", state.step, workdir)
    elif config.init_from not in (None, "none"):
        state = make_state(config, model, mesh, read_start(config.init_from, model))
    else:
        state = make_state(config, model, mesh)
    start, stop = int(state.step), config.train.steps
    updates = make_updates(config, model, mesh, resident_data=images is not None)

    # ------------------------------------------------------------------------------------ loop
    first = jax.process_index() == 0
    writer = EventWriter(workdir if first else None)
    writer.write_hparams(_flat(config))
    name = describe_model(model)[0]
    logging.info(
        "%s, %d parameters, %d training images, %d validation images, %d devices, %d processes",
        name,
        count_parameters({"params": state.params}),
        len(sampler.images),
        len(validation),
        mesh.size,
        jax.process_count(),
    )
    stream: Iterator[Any]
    if images is None:
        stream = pipeline.batches(sampler, mesh, start, stop, threads=config.data.threads)
    else:
        stream = resident.batches(sampler, images, mesh, start, stop)
    pending: list[Metrics] = []  # of the steps since the last log line, still on the devices
    if start == 0:  # also tells at once of a validation image that cannot be read
        for network in (None, (model, fetch(state.variables()))):
            writer.write_scalars(0, validate(network, validation, config.data.scales)[0])
    clock = Clock()
    traced = range(min(start + 10, stop - 1), min(start + 15, stop)) if profile else range(0)
    bar = Progress(
        TextColumn(name),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(),
        disable=not first,
    )
    task = bar.add_task("", total=stop, completed=start, status="compiling")
    with contextlib.closing(checkpoints), contextlib.closing(writer), bar, StopRequest() as signals:
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
            interrupted = signals.reached(done)
            due = functools.partial(_due, done, stop if not interrupted else done)
            if due(config.train.log_every, config.train.eval_every, config.train.checkpoint_every):
                logged = average_finite(pending, done, checkpoints, workdir)
                logged |= clock.rates(len(pending), config.data.batch_size)
                pending.clear()
                writer.write_scalars(done, logged)
                loss, speed = logged["train/loss"], logged["speed/images_per_second"]
                status = f"loss {loss:.4g}  {speed:.4g} images/s"
                bar.update(task, completed=done, status=status)
            if due(config.train.checkpoint_every):
                checkpoints.save(done, state)
            if interrupted and done < stop:
                checkpoints.wait()
                logging.warning(
                    "signal %d: saved step %d; the same command goes on from there",
                    signals.signal,
                    done,
                )
                raise SystemExit(128 + signals.signal)
            if due(config.train.eval_every):
                variables = fetch(state.variables())
                scores, pictures = validate((model, variables), validation, config.data.scales)
                writer.write_scalars(done, scores)
                writer.write_images(done, pictures)
                clock.restart()

    # ------------------------------------------------------------------------------------- end
    if first:
        weights.save(workdir / "weights.safetensors", model, fetch(state.variables()))
    logging.info("finished at step %d: %s", stop, workdir / "weights.safetensors")


def _due(done: int, stop: int, *intervals: int) -> bool:
    """Whether one of the intervals ends with this step; all do with the last."""
    return done == stop or any(done % interval == 0 for interval in intervals)


def check_recipe(config: ConfigDict, model: Network) -> None:
    """Raises ValueError where the parts of a recipe do not fit each other."""
    scales, known = tuple(config.data.scales), model.known_scales
    if known == ():
        raise ValueError(f"{describe_model(model)[0]} is no network that upscales images")
    if known is not None and not set(scales) <= set(known):
        raise ValueError(f"data.scales is {scales}, but the network has {known}: make them agree")
    if config.adversarial.weight and not (
        len(scales) == 1 and model.n_colors == 3 and not model.takes_interpolated
    ):
        raise ValueError(
            "adversarial.weight is for networks of one scale that upscale RGB themselves: set it "
            "to 0 for this one"
        )
    known_types = ("float32", "bfloat16", "float64")
    if config.train.dtype not in known_types:
        raise ValueError(
            f"train.dtype is {config.train.dtype!r}; known are {', '.join(known_types)}"
        )
    if config.train.dtype == "float64" and not jax.config.read("jax_enable_x64"):
        raise ValueError("train.dtype float64 needs the environment variable JAX_ENABLE_X64=1")
    if config.data.placement not in resident.PLACEMENTS:
        raise ValueError(
            f"data.placement is {config.data.placement!r}; known are "
            f"{', '.join(resident.PLACEMENTS)}"
        )
    if config.train.accumulate < 0 or config.data.batch_size % (config.train.accumulate or 1):
        raise ValueError(
            f"train.accumulate is {config.train.accumulate}, which does not divide data.batch_size "
            f"{config.data.batch_size}: set it to a number that does, or to 0 to have it chosen"
        )


def make_discriminator(config: ConfigDict) -> Network:
    """The network that judges the training patches of a recipe."""
    side = config.data.lr_patch_size * config.data.scales[0]
    return create_model("srgan_discriminator", image_size=side, n_feats=config.adversarial.n_feats)


def make_state(
    config: ConfigDict, model: Network, mesh: Mesh, start_from: dict[str, Any] | None = None
) -> State:
    """The state of step 0 of a recipe; `start_from` holds variables that are not drawn anew."""
    optimizer = make_optimizer(config.optimizer, model)
    create = functools.partial(
        create_state, optimizer=optimizer, mesh=mesh, dtype=jnp.dtype(config.train.dtype)
    )
    state = create(model, seed=config.seed, ema=config.train.ema > 0, start_from=start_from)
    if not config.adversarial.weight:
        return state
    return AdversarialState(state, create(make_discriminator(config), seed=config.seed + 1))


def make_updates(
    config: ConfigDict, model: Network, mesh: Mesh, *, resident_data: bool = False
) -> dict[int, Update]:
    """The compiled updates of a recipe, by the scale of the step.

    A network that is told the scale has one for each; all others have one for all.

    Args:
        config: see configs/common.py.
        model: its network.
        mesh: the devices.
        resident_data: whether the updates take what `resident.batches` yields, not batches.
    """
    optimizer = make_optimizer(config.optimizer, model)
    recipe = {
        "dtype": jnp.dtype(config.train.dtype),
        "accumulate": config.train.accumulate,
        "ema_decay": config.train.ema,
        "remat": config.train.remat,
    }
    schedule = make_schedule(config.optimizer)
    if config.loss.name in FEATURE_LOSSES:
        loss = feature_loss(config.loss.name, config.loss.scale, config.loss.vgg)
    else:
        loss = get_loss(config.loss.name, config.loss.scale)
    loss = jax.device_put(loss, replicated(mesh))

    @functools.cache
    def compiled(scale: int | None) -> Update:
        step: Callable[..., Any]
        if not config.adversarial.weight:
            step = make_train_step(model, optimizer, schedule, scale=scale, **recipe)
        else:
            step = make_adversarial_step(
                model,
                make_discriminator(config),
                optimizer,
                schedule,
                weight=config.adversarial.weight,
                **recipe,
            )
        if not resident_data:
            return compile_step(step, mesh, loss)
        factor = 1 if model.takes_interpolated else (scale or config.data.scales[0])
        step = resident.cut_in_step(step, config.data.lr_patch_size, factor)
        return compile_step(step, mesh, loss, resident.SPECS)

    return {scale: compiled(model.call_scale(scale)) for scale in config.data.scales}


def load_images(config: ConfigDict, split: str) -> tuple[ImagePair, ...]:
    """The images of a recipe: 'train' or 'validation'."""
    data = config.data
    return sources.load(data.source, split, path=data.path, scales=data.scales)


def make_sampler(config: ConfigDict, model: Network) -> PatchSampler:
    """What draws the training patches of a recipe. Images smaller than a patch are left out.

    Raises:
        ValueError: an image that cannot be opened, or none that is large enough.
    """
    sampler = PatchSampler(
        load_images(config, "train"),
        tuple(config.data.scales),
        config.data.lr_patch_size,
        config.data.batch_size,
        config.seed,
        n_colors=model.n_colors,
        interpolated=model.takes_interpolated,
        cache=ImageCache(config.data.cache_megabytes * 2**20),
    )
    least = sampler.smallest_side()
    images = track(sampler.images, "checking sizes", transient=True)
    small = [image for image in images if (image.shorter_side() or least) < least]
    if not small:
        return sampler
    logging.warning(
        "%d of %d training images are left out, as their shorter side is under %d pixels, what a "
        "patch takes: %s",
        len(small),
        len(sampler.images),
        least,
        ", ".join(image.name for image in small[:10]) + (" ..." if len(small) > 10 else ""),
    )
    large = [image for image in sampler.images if image not in small]
    if not large:
        raise ValueError(
            f"no training image has a shorter side of {least} pixels or more, which "
            f"data.lr_patch_size {config.data.lr_patch_size} takes: choose a smaller patch"
        )
    return dataclasses.replace(sampler, images=large)


class Clock:
    """Measures the rate of training, and what the time goes to."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forgets what was measured so far."""
        self._start = time.perf_counter()
        self._data = self._starved = self._devices = 0.0

    def wait_for_data(self, stream: Any, pending: list[Metrics]) -> Any:
        """The next batch. Waiting counts as lost when the devices finished their work meanwhile."""
        start = time.perf_counter()
        batch = next(stream)
        seconds = time.perf_counter() - start
        self._data += seconds
        last: Any = pending[-1]["loss"] if pending else None
        if last is not None and last.is_ready():
            self._starved += seconds
        return batch

    @contextlib.contextmanager
    def devices(self) -> Iterator[None]:
        """Counts what happens inside, steps given to the devices and waited for, as theirs."""
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
            raise FloatingPointError(
                f"step {done - len(fetched) + offset + 1}: {values}; the last good checkpoint is "
                f"step {checkpoints.latest_step()} in {workdir}. Lower optimizer.learning_rate or "
                "set optimizer.clip, and run the same command to go on from there"
            )
    means = {}
    for name in fetched[0]:
        found = np.array([metrics[name] for metrics in fetched])
        means[f"train/{name}"] = float(Average.from_model_output(found).compute())
    means["train/learning_rate"] = float(fetched[-1]["learning_rate"])
    return means


def validate(
    network: Loaded | None, images: Sequence[ImagePair], scales: tuple[int, ...]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """PSNR and SSIM of the luma on the validation images, and pictures of a few of them.

    Several processes take turns: process i of n scores the images i, i + n, i + 2n ..., and all
    get the means over all images. Every process must call.

    Args:
        network: (model, variables), or None for bicubic interpolation.
        images: the validation images.
        scales: the scales to validate at.

    Returns:
        Means by scale, such as 'validation/psnr_x2' ('validation/bicubic_psnr_x2'), and pictures
        (H, 3 * W, 3) uint8 of bicubic interpolation, the network and the original side by side.
    """
    kind = "validation/" if network else "validation/bicubic_"
    mine = range(jax.process_index(), len(images), jax.process_count())
    scores = np.zeros((len(scales), len(images), 2))
    pictures: dict[str, np.ndarray] = {}
    for place, scale in enumerate(scales):
        for index in mine:
            image = images[index]
            *scores[place, index], result = score_image(image, scale, network)
            if index in mine[:PICTURES]:
                lr, hr = image.pair(scale)
                panels = [_centre(panel) for panel in (imresize(lr, scale), result, hr)]
                pictures[f"x{scale}/{image.name}"] = np.concatenate(panels, axis=1)
    means: dict[str, float] = {}
    for scale, (psnr, ssim) in zip(scales, sum_over_processes(scores).mean(axis=1), strict=True):
        means |= {f"{kind}psnr_x{scale}": float(psnr), f"{kind}ssim_x{scale}": float(ssim)}
    return means, pictures


def _centre(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, (side - PICTURE_SIZE) // 2) for side in image.shape[:2])
    return image[top : top + PICTURE_SIZE, left : left + PICTURE_SIZE]


def read_start(path: str, model: Network) -> dict[str, np.ndarray]:
    """The variables of another training that fit a network, by path.

    For the recipes that start one scale from another: what has no counterpart or another shape
    (the upsampler) keeps its fresh initialisation. What is taken and what is not goes to the log.

    Args:
        path: a weights file or a workdir. Of a workdir whose training has not finished, the newest
            checkpoint is taken.
        model: the network to be trained.

    Raises:
        ValueError: no such file, or nothing in it fits.
    """
    folder = Path(path)
    if (folder / "checkpoints").is_dir() and not (folder / "weights.safetensors").exists():
        found = _flat(read_variables(folder))
    elif not folder.exists():
        raise ValueError(f"init_from {path}: no such weights file or workdir; train it first")
    else:
        found = _flat(weights.load(weights.find(path), allow=(describe_model(model)[0],))[1])
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


def _flat(tree: Any) -> dict[str, Any]:
    if isinstance(tree, ConfigDict):
        tree = json.loads(tree.to_json_best_effort())
    return flax.traverse_util.flatten_dict(dict(tree), sep="/")
