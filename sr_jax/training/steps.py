"""The update of every network that is trained on pixels: a pure function of state and batch."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sr_jax.memory import keep_freed
from sr_jax.mesh import replicated
from sr_jax.models.network import Network
from sr_jax.ops.devices import BATCH_AXIS, mean_over_devices
from sr_jax.ops.target import compiler_options, platform, rematerialisation
from sr_jax.training.losses import Loss, clipped_mse, decibels
from sr_jax.training.state import TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]

# Values of a feature map up to which a CPU's caches hold what a block works on
# (experiments/throughput/NOTES.md).
_CACHED = 300_000


def make_train_step(
    model: Network,
    optimizer: optax.GradientTransformationExtraArgs,
    schedule: optax.Schedule,
    *,
    scale: int | None = None,
    dtype: Any = jnp.float32,
    accumulate: int = 0,
    ema_decay: float = 0.0,
    remat: bool = False,
) -> Callable[[TrainState, Batch, Loss], tuple[TrainState, Metrics]]:
    """Builds the update, not yet compiled: see `compile_step`.

    Args:
        model: the network.
        optimizer: the optimiser.
        schedule: its learning rate, as a function of the updates done.
        scale: of this step's batches, for networks with several. Layers of other scales (MDSR's
            branches) take no part: their parameters, moments and counts stay as they are.
        dtype: of the computation; parameters, loss and optimiser are float32 at least.
        accumulate: microbatches in which a batch is processed, one after the other, to save
            memory. Batch normalisation sees each as a batch. 0: see `choose_microbatches`.
        ema_decay: of the average of the parameters; less in the first updates, see
            `apply_gradients`.
        remat: computes repeated blocks again in the backward pass, to save memory.

    Returns:
        A function (state, {'lr', 'hr'}, loss) -> (state, metrics). Images are (N, H, W, C) in
        [0, 1]. Metrics are the scalars `loss` (in the recipe's units), `psnr` (dB),
        `learning_rate`, `gradient_norm` and `parameter_norm`.
    """

    def step(state: TrainState, batch: Batch, loss: Loss) -> tuple[TrainState, Metrics]:
        params = {k: v for k, v in state.params.items() if model.branch(k) in (None, scale)}

        def forward(params: Any, rest: Any, batch: Batch) -> tuple[jax.Array, Any]:
            prediction, rest = apply_network(model, params, rest, batch["lr"], dtype, scale, remat)
            target = crop_to(batch["hr"], prediction.shape)
            return loss(prediction, target), (rest, clipped_mse(prediction, target))

        def gradients(rest: Any, batch: Batch) -> tuple[Any, Any]:
            values, grads = jax.value_and_grad(forward, has_aux=True)(params, rest, batch)
            value, (rest, error) = values
            return rest, (value, error, grads)

        parts = accumulate or choose_microbatches(model, batch["lr"].shape, state.rest)
        rest, averages = over_microbatches(gradients, state.rest, batch, parts)
        value, error, grads = mean_over_devices(averages)
        rate = schedule(state.step)
        state = apply_gradients(state, params, grads, optimizer, rate, rest, ema_decay)
        return state, {
            "loss": value,
            "psnr": decibels(error),
            "learning_rate": rate,
            "gradient_norm": optax.tree.norm(grads),
            "parameter_norm": optax.tree.norm(state.params),
        }

    return step


def compile_step(
    step: Callable[..., Any], mesh: Mesh, loss: Loss, specs: Any = PartitionSpec(BATCH_AXIS)
) -> Callable[..., Any]:
    """Compiles an update for a mesh: data parallel, the state replicated.

    Args:
        step: a function (state, batch, loss) -> (state, metrics).
        mesh: the devices that share the batch.
        loss: passed to every call; its arrays are arguments of the compiled function.
        specs: how the devices share the batch, one for all of its arrays or one for each.

    Returns:
        A function (state, batch) -> (state, metrics). The state given to it is donated: use the
        one that it returns.
    """
    everywhere = replicated(mesh)
    shardings = jax.tree.map(functools.partial(NamedSharding, mesh), specs)
    if mesh.size > 1:
        whole = PartitionSpec()
        # Unchecked: the check would have JAX sum the gradients of parameters that a loop uses
        # several times once a round, in place of `mean_over_devices` once a step.
        step = jax.shard_map(
            step, mesh=mesh, in_specs=(whole, specs, whole), out_specs=whole, check_vma=False
        )
    keep_freed()
    compiled = jax.jit(
        step,
        in_shardings=(everywhere, shardings, everywhere),
        out_shardings=(everywhere, everywhere),
        donate_argnums=0,
        compiler_options=compiler_options(),
    )
    return lambda state, batch: compiled(state, batch, loss)


def apply_network(
    model: Network,
    params: Any,
    rest: Any,
    images: jax.Array,
    dtype: Any,
    scale: int | None,
    remat: bool = False,
) -> tuple[jax.Array, Any]:
    """A network in training mode; for the other arguments see `make_train_step`.

    Returns:
        (output, rest): the output as float32 at least, and the other collections, of which the
        batch statistics are brought up to date.
    """
    with rematerialisation(remat):
        output, updates = model.apply(
            {"params": params, **rest},
            images.astype(dtype),
            scale=scale,
            train=True,
            mutable=["batch_stats"],
        )
    return output.astype(jnp.promote_types(dtype, jnp.float32)), {**rest, **updates}


def apply_gradients(
    state: TrainState,
    params: Any,
    grads: Any,
    optimizer: optax.GradientTransformationExtraArgs,
    learning_rate: jax.Array,
    rest: Any,
    ema_decay: float,
) -> TrainState:
    """The state after an update of `params`, which may be a part of the state's layers."""
    updates, opt_state = optimizer.update(
        grads, state.opt_state, params, learning_rate=learning_rate
    )
    new_params = {**state.params, **optax.apply_updates(params, updates)}
    ema = state.ema
    if ema is not None:
        # As TensorFlow's ExponentialMovingAverage with `num_updates`: the initial parameters have
        # left the average after a few updates, not after a few times 1 / (1 - decay).
        done = jnp.asarray(state.step, jnp.result_type(float))
        decay = jnp.minimum(ema_decay, (1 + done) / (10 + done))
        ema = optax.incremental_update(new_params, ema, 1 - decay)
    return TrainState(state.step + 1, new_params, rest, opt_state, ema)


def choose_microbatches(model: Network, shape: tuple[int, ...], rest: Any) -> int:
    """The number of microbatches in which a batch of shape (N, H, W, C) is processed fastest.

    On CPU the fewest of which a feature map stays in the caches: VDSR's step on 16 patches takes
    0.7 of the time and a third of the memory then. One on accelerators, and with batch
    normalisation, which would see each as a batch.

    >>> choose_microbatches(Network(), (16, 41, 41, 1), {"batch_stats": {}})
    1
    """
    if platform() != "cpu" or "batch_stats" in rest:
        return 1
    size, *sides, _ = shape
    image = math.prod(sides) * model.width
    return next(
        parts
        for parts in range(1, size + 1)
        if size % parts == 0 and (size // parts * image <= _CACHED or parts == size)
    )


def over_microbatches(
    function: Callable[[Any, Batch], tuple[Any, Any]], rest: Any, batch: Batch, parts: int
) -> tuple[Any, Any]:
    """Runs `function(rest, batch) -> (rest, values)` over microbatches, one after the other.

    Returns:
        What the function returns for the whole batch at once, if its values are means over rows:
        `rest` goes from one to the next, and the values are averaged.
    """
    if parts == 1:
        return function(rest, batch)
    # Each takes every `parts`-th row, so that no row changes its device.
    split = jax.tree.map(lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1), batch)

    def add(carry: Any, part: Batch) -> tuple[Any, None]:
        rest, sums = carry
        rest, values = function(rest, part)
        return (rest, jax.tree.map(jnp.add, sums, values)), None

    first = jax.tree.map(lambda x: x[0], split)
    zeros = jax.tree.map(jnp.zeros_like, jax.eval_shape(function, rest, first)[1])
    (rest, sums), _ = jax.lax.scan(add, (rest, zeros), split)
    return rest, jax.tree.map(lambda x: x / parts, sums)


def crop_to(target: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The centre of the targets, for a network that shrinks its input (SRCNN without padding)."""
    top, left = ((t - p) // 2 for t, p in zip(target.shape[1:3], shape[1:3], strict=True))
    return target[:, top : top + shape[1], left : left + shape[2]]
