"""The update of every network that is trained on pixels: a pure function of state and batch."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from sr_jax.sharding import compiler_options, replicated, split_rows
from sr_jax.training.losses import Loss, psnr
from sr_jax.training.state import TrainState

Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


def make_train_step(
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    loss: Loss,
    mesh: Mesh,
    *,
    loss_scale: float = 1.0,
    scale: int | None = None,
    dtype: Any = jnp.float32,
    accumulate: int = 1,
    ema_decay: float = 0.0,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Builds the jitted update. The state given to it is donated: use the one that it returns.

    Args:
        model: the network.
        optimizer: the optimiser.
        schedule: its learning rate, for the log.
        loss: of (prediction, target), which are multiplied by `loss_scale` first.
        mesh: the devices that share the batch.
        loss_scale: puts the loss in the recipe's units.
        scale: of this step's batches, for networks with several.
        dtype: of the computation; parameters, loss and optimiser stay float32.
        accumulate: parts in which a batch is processed, one after the other, to save memory.
        ema_decay: of the average of the parameters.

    Returns:
        A function (state, {'lr', 'hr'}) -> (state, metrics). Images are (N, H, W, C) in [0, 1],
        split over the mesh by rows. Metrics are the scalars `loss` (in the recipe's units),
        `psnr` (dB), `learning_rate` and `gradient_norm`.
    """

    def loss_and_updates(params: Any, rest: Any, batch: Batch) -> tuple[jax.Array, Any]:
        prediction, updates = model.apply(
            {"params": params, **rest},
            batch["lr"].astype(dtype),
            scale=scale,
            train=True,
            mutable=["batch_stats"],
        )
        prediction = prediction.astype(jnp.float32)
        target = crop_to(batch["hr"], prediction.shape)
        value = loss(prediction * loss_scale, target * loss_scale)
        return value, ({**rest, **updates}, psnr(prediction, target))

    differentiate = jax.value_and_grad(loss_and_updates, has_aux=True)

    def gradients(state: TrainState, batch: Batch) -> tuple[jax.Array, Any, jax.Array, Any]:
        if accumulate == 1:
            (value, (rest, quality)), grads = differentiate(state.params, state.rest, batch)
            return value, rest, quality, grads
        # Every part takes every `accumulate`-th row, so that no row changes its device.
        parts = jax.tree.map(
            lambda x: x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1), batch
        )

        def add(carry: Any, part: Batch) -> tuple[Any, None]:
            rest, sums = carry
            (value, (rest, quality)), grads = differentiate(state.params, rest, part)
            return (rest, jax.tree.map(jnp.add, sums, (value, quality, grads))), None

        zeros = (0.0, 0.0, jax.tree.map(jnp.zeros_like, state.params))
        (rest, sums), _ = jax.lax.scan(add, (state.rest, zeros), parts)
        value, quality, grads = jax.tree.map(lambda x: x / accumulate, sums)
        return value, rest, quality, grads

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        value, rest, quality, grads = gradients(state, batch)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if ema is not None:
            ema = optax.incremental_update(params, ema, 1 - ema_decay)
        metrics = {
            "loss": value,
            "psnr": quality,
            "learning_rate": schedule(state.step),
            "gradient_norm": optax.tree.norm(grads),
        }
        new_state = TrainState(state.step + 1, params, rest, opt_state, ema)
        return new_state, metrics

    everywhere, rows = replicated(mesh), split_rows(mesh)
    return jax.jit(
        step,
        in_shardings=(everywhere, rows),
        out_shardings=(everywhere, everywhere),
        donate_argnums=0,
        compiler_options=compiler_options(),
    )


def crop_to(target: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The centre of the targets, for a network that shrinks its input (SRCNN without padding)."""
    top, left = ((t - p) // 2 for t, p in zip(target.shape[1:3], shape[1:3], strict=True))
    return target[:, top : top + shape[1], left : left + shape[2]]
