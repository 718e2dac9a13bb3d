"""The columns of sr_jax: the compiled forward pass of `inference`, the update of `training`."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.throughput.contenders import Contender
from experiments.throughput.networks import Cell
from sr_jax.configuration import get_defaults
from sr_jax.inference.program import jitted
from sr_jax.mesh import make_mesh, replicated, split_rows
from sr_jax.models import Variables, create_model, example_images
from sr_jax.models.network import Network
from sr_jax.ops.target import compiler_options
from sr_jax.recipe import read_optimizer, read_schedule
from sr_jax.training.adversarial import make_adversarial_step
from sr_jax.training.losses import get_loss
from sr_jax.training.state import AdversarialState, TrainState
from sr_jax.training.steps import compile_step, make_train_step

ADVERSARIAL_WEIGHT = 1e-3


class Side(NamedTuple):
    """A network and its variables, those of the twin."""

    model: Network
    variables: Variables


def model_of(cell: Cell) -> Network:
    """The network of a cell."""
    return create_model(cell.network.architecture, **cell.network.hyperparameters)


def discriminator_of(cell: Cell) -> Network:
    """What judges the generator of an adversarial training step."""
    return create_model("srgan_discriminator", image_size=cell.output_size[0])


def inference(cell: Cell, side: Side, images: np.ndarray) -> Contender:
    """The forward pass that `sr-jax upscale` runs; `images` are (N, H, W, C) in [0, 1]."""
    forward = jitted(side.model, cell.network.scale, cell.dtype, 1)
    arguments = jax.device_put((side.variables, images))
    program, seconds = _compile(forward, *arguments)

    def run() -> jax.Array:
        return jax.block_until_ready(program(*arguments))

    return Contender(run, lambda: {"output": np.asarray(run())}, seconds, *_bytes(program))


def training(
    cell: Cell,
    sides: tuple[Side, ...],
    images: np.ndarray,
    targets: np.ndarray,
    loss_scale: float,
    *,
    shared: bool = False,
) -> Contender:
    """A training step on one batch, over and over: the update that `sr_jax.train` compiles.

    Args:
        cell: what to time.
        sides: the network, and the discriminator for an adversarial step.
        images, targets: (N, H, W, C) in [0, 1].
        loss_scale: see `sr_jax.training.losses.get_loss`.
        shared: whether all devices share the batch; else the first one takes it.

    Raises:
        ValueError: the batch cannot be shared evenly.
    """
    config = get_defaults().optimizer
    optimizer = read_optimizer(config, sides[0].model)
    step, loss = _update(cell, tuple(side.model for side in sides), loss_scale)
    states = [_state(side.variables, optimizer) for side in sides]
    state = states[0] if len(states) == 1 else AdversarialState(*states)
    batch = {"lr": images, "hr": targets}
    arguments: tuple[Any, ...]
    told: tuple[Any, ...] = ()
    if shared:
        mesh = make_mesh(len(images))
        state, loss = jax.device_put((state, loss), replicated(mesh))
        program = compile_step(step, mesh, loss)
        arguments = (jax.device_put(batch, split_rows(mesh)),)
    else:
        arguments = (jax.device_put(batch), loss)
        program, seconds = _compile(_jitted(step), state, *arguments)
        told = (seconds, *_bytes(program))

    def run() -> Any:
        nonlocal state
        state, metrics = program(state, *arguments)
        return jax.block_until_ready((state, metrics))[1]

    def result() -> Mapping[str, np.ndarray]:
        metrics = run()
        parts = (state,) if len(sides) == 1 else (state.generator, state.discriminator)
        found = {"loss": np.asarray(metrics["loss"])}
        if len(sides) > 1:
            found["loss of the discriminator"] = np.asarray(metrics["discriminator_loss"])
        for index, part in enumerate(parts):
            # Adam's first moment after one step is (1 - b1) times the gradient. MDSR's branches
            # have states of their own.
            leaves = jax.tree.leaves(part.opt_state, is_leaf=_is_adam)
            moments = {k: v for leaf in leaves if _is_adam(leaf) for k, v in leaf.mu.items()}
            found[f"gradient {index}"] = flat(moments) / (1 - config.b1)
        return found

    return Contender(run, result, *told)


def flat(params: Any) -> np.ndarray:
    """All parameters in one row, in the order of the tree."""
    return np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(params)])


def temporary_bytes(cell: Cell) -> int:
    """What the compiler says that the program takes beside its arguments; nothing is run."""
    images, targets = (
        jax.ShapeDtypeStruct((cell.batch, *size, cell.network.n_colors), jnp.float32)
        for size in (cell.input_size, cell.output_size)
    )
    models = [model_of(cell)]
    if cell.task == "train" and cell.network.adversarial:
        models.append(discriminator_of(cell))
    shapes = [_shapes(model) for model in models]
    if cell.task == "inference":
        program, _ = _compile(
            jitted(models[0], cell.network.scale, cell.dtype, 1), shapes[0], images
        )
        return _bytes(program)[0]
    optimizer = read_optimizer(get_defaults().optimizer, models[0])
    states = [jax.eval_shape(lambda v: _state(v, optimizer), variables) for variables in shapes]
    state = states[0] if len(states) == 1 else AdversarialState(*states)
    step, loss = _update(cell, tuple(models), 1.0)
    batch = {"lr": images, "hr": targets}
    return _bytes(_compile(_jitted(step), state, batch, loss)[0])[0]


def _update(cell: Cell, models: tuple[Network, ...], loss_scale: float) -> tuple[Any, Any]:
    """The update, and its loss."""
    config = get_defaults().optimizer
    optimizer = read_optimizer(config, models[0])
    schedule, dtype = read_schedule(config), jnp.dtype(cell.dtype)
    if cell.network.adversarial:
        step = make_adversarial_step(
            *models, optimizer, schedule, weight=ADVERSARIAL_WEIGHT, dtype=dtype
        )
        loss = get_loss("mse", loss_scale)
    else:
        scale = cell.network.scale
        step = make_train_step(models[0], optimizer, schedule, scale=scale, dtype=dtype)
        loss = get_loss("l1", loss_scale)
    return step, loss


def _jitted(step: Any) -> Any:
    """With the options of `sr_jax.training.steps.compile_step`."""
    return jax.jit(step, donate_argnums=0, compiler_options=compiler_options())


def _state(variables: Variables, optimizer: optax.GradientTransformation) -> TrainState:
    # A copy: the step takes the arrays of its state for its own.
    rest = jax.tree.map(jnp.array, dict(variables))
    params = rest.pop("params")
    return TrainState(jnp.zeros([], jnp.int32), params, rest, optimizer.init(params), None)


def _shapes(model: Network) -> Variables:
    return jax.eval_shape(model.init, jax.random.key(0), example_images(model))


def _compile(function: Any, *arguments: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    program = function.lower(*arguments).compile()
    return program, time.perf_counter() - start


def _bytes(program: Any) -> tuple[int, int]:
    """What the compiler says of temporaries, and of all that the program takes."""
    told = program.memory_analysis()
    held = told.argument_size_in_bytes + told.output_size_in_bytes - told.alias_size_in_bytes
    return int(told.temp_size_in_bytes), int(told.temp_size_in_bytes + held)


def _is_adam(node: Any) -> bool:
    return isinstance(node, optax.ScaleByAdamState)
