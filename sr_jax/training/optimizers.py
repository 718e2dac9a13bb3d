"""Optimisers and schedules of the papers, from a config to optax."""

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict


def make_schedule(config: ConfigDict) -> optax.Schedule:
    """The learning rate as a function of the number of updates done.

    Args:
        config: the section `optimizer`: the rate starts at `learning_rate` and is multiplied by
            `decay_factor` after every `decay_every` updates (0: never), and at each of the
            updates `decay_at`.
    """

    def schedule(count: jax.Array) -> jax.Array:
        decays = jnp.sum(jnp.asarray(count) >= jnp.asarray(config.decay_at, jnp.int32))
        if config.decay_every:
            decays += count // config.decay_every
        return jnp.asarray(config.learning_rate * config.decay_factor**decays, jnp.float32)

    return schedule


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """Builds the optimiser of a recipe.

    The order is: clipping of the data gradient, weight decay, moments, learning rate, rates of
    single layers. So weight decay is the L2 penalty of PyTorch's `weight_decay`, for Adam too.

    Args:
        config: the section `optimizer`: `name` 'adam' (`b1`, `b2`, `eps`) or 'sgd' (`momentum`);
            `weight_decay`; `clip` 'none', 'adjustable' (see `clip_by_rate`), 'value' (elementwise)
            or 'norm' (global), with its bound `clip_bound`; `layer_rates`, factors on the learning
            rate of the layers named; and the schedule's fields.

    Raises:
        ValueError: unknown name or clip.
    """
    schedule = make_schedule(config)
    clips = {
        "none": lambda bound: optax.identity(),
        "adjustable": lambda bound: clip_by_rate(bound, schedule),
        "value": optax.clip,
        "norm": optax.clip_by_global_norm,
    }
    moments = {
        "adam": lambda: optax.scale_by_adam(config.b1, config.b2, config.eps),
        "sgd": lambda: optax.trace(config.momentum),
    }
    for field, known in (("name", moments), ("clip", clips)):
        if config[field] not in known:
            raise ValueError(
                f"optimizer.{field} is {config[field]!r}; known are {', '.join(known)}"
            )
    return optax.chain(
        clips[config.clip](config.clip_bound),
        optax.add_decayed_weights(config.weight_decay),
        moments[config.name](),
        optax.scale_by_learning_rate(schedule),
        scale_layers(dict(config.layer_rates)),
    )


def clip_by_rate(theta: float, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Adjustable gradient clipping: every component to +-theta / learning rate (VDSR section 3.2).

    The bound grows as the rate falls, so that a step never moves a weight by more than theta
    (before momentum), and late training is not slowed by a bound made for the first epochs.

    Args:
        theta: largest movement of a weight in one step.
        schedule: the learning rate, as a function of the number of updates done.
    """

    def update(
        updates: optax.Updates, state: optax.ScaleByScheduleState, params: optax.Params | None
    ) -> tuple[optax.Updates, optax.ScaleByScheduleState]:
        del params
        bound = theta / schedule(state.count)
        clipped = jax.tree.map(lambda g: jnp.clip(g, -bound, bound), updates)
        return clipped, optax.ScaleByScheduleState(optax.safe_increment(state.count))

    def init(params: optax.Params) -> optax.ScaleByScheduleState:
        del params
        return optax.ScaleByScheduleState(jnp.zeros([], jnp.int32))

    return optax.GradientTransformation(init, update)


def scale_layers(rates: dict[str, float]) -> optax.GradientTransformation:
    """Multiplies the updates of single layers (SRCNN section 3.3: the last layer learns at 0.1).

    Args:
        rates: top-level name in `params` -> factor; layers that are not named keep theirs.
    """

    def update(updates: optax.Updates, params: optax.Params | None) -> optax.Updates:
        del params
        unknown = sorted(rates.keys() - updates.keys())
        if unknown:
            raise ValueError(
                f"optimizer.layer_rates names {', '.join(unknown)}; "
                f"the network's layers are {', '.join(updates)}"
            )
        return {
            name: jax.tree.map(lambda u, rate=rates.get(name, 1.0): u * rate, layer)
            if name in rates
            else layer
            for name, layer in updates.items()
        }

    return optax.stateless(update)
