"""Optimisers and schedules of the papers, by optax."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sr_jax.models.network import Network

# Top-level layer -> the scale that alone uses it, None for a layer of all scales.
Branch = Callable[[str], int | None]

OPTIMIZERS = ("adam", "sgd")
CLIPS = ("none", "adjustable", "value", "norm")


def make_schedule(
    learning_rate: float,
    decay_factor: float = 0.5,
    decay_every: int = 0,
    decay_at: Sequence[int] = (),
    warmup: int = 0,
    cosine: int = 0,
) -> optax.Schedule:
    """The learning rate as a function of the number of updates done.

    Args:
        learning_rate: at the start, or after the warm-up.
        decay_factor: what it is multiplied by at each decay.
        decay_every: updates between decays; 0: none.
        decay_at: single updates after which it decays.
        warmup: updates in which it rises in equal steps, the first one above 0; 0: none.
        cosine: updates in which it falls to 0 along half a cosine; 0: it does not.
    """

    def schedule(count: jax.Array) -> jax.Array:
        decays = jnp.sum(jnp.asarray(count) >= jnp.asarray(decay_at, jnp.int32))
        if decay_every:
            decays += count // decay_every
        rate = learning_rate * decay_factor**decays
        if warmup:
            rate *= jnp.minimum(1, (count + 1) / warmup)
        if cosine:
            rate *= (1 + jnp.cos(jnp.pi * jnp.minimum(1, count / cosine))) / 2
        return jnp.asarray(rate, jnp.float32)

    return schedule


def make_optimizer(
    name: str = "adam",
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    clip: str = "none",
    clip_bound: float = 0.0,
    layer_rates: Mapping[str, float] | None = None,
    model: Network | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Builds an optimiser.

    `update` takes the rate of the step as the keyword `learning_rate`. So the rate comes from the
    one step count of the training state, and nothing in here can disagree with it after a resume.

    The order is: clipping of the data gradient, weight decay, moments, learning rate, rates of
    single layers. So weight decay is the L2 penalty of PyTorch's `weight_decay`, for Adam too.

    Args:
        name: 'adam' or 'sgd'.
        b1, b2, eps: of Adam.
        momentum: of SGD.
        weight_decay: factor of the parameters in the gradient.
        clip: 'none', 'adjustable' (see `clip_by_rate`), 'value' (elementwise) or 'norm' (global).
        clip_bound: its bound.
        layer_rates: factors on the learning rate of single layers, see `scale_layers`.
        model: the network; if its steps use a part of its layers, see `by_branch`.

    Raises:
        ValueError: unknown name or clip.
    """
    clips = {
        "none": lambda bound: optax.identity(),
        "adjustable": clip_by_rate,
        "value": optax.clip,
        "norm": optax.clip_by_global_norm,
    }
    moments = {
        "adam": lambda: optax.scale_by_adam(b1, b2, eps),
        "sgd": lambda: optax.trace(momentum),
    }
    for field, value, known in (("name", name, OPTIMIZERS), ("clip", clip, CLIPS)):
        if value not in known:
            raise ValueError(f"optimizer.{field} is {value!r}; known are {', '.join(known)}")
    moment = moments[name]()
    return optax.with_extra_args_support(
        optax.chain(
            clips[clip](clip_bound),
            optax.add_decayed_weights(weight_decay),
            by_branch(moment, model.branch) if model and model.scales else moment,
            descend_by_rate(),
            scale_layers(layer_rates or {}),
        )
    )


def clip_by_rate(theta: float) -> optax.GradientTransformationExtraArgs:
    """Adjustable gradient clipping: every component to +-theta / learning rate (VDSR section 3.2).

    The bound grows as the rate falls, so that a step never moves a weight by more than theta
    (before momentum), and late training is not slowed by a bound made for the first epochs.

    Args:
        theta: largest movement of a weight in one step.
    """

    def update(
        updates: optax.Updates,
        state: optax.EmptyState,
        params: optax.Params | None = None,
        *,
        learning_rate: jax.Array,
        **_: Any,
    ) -> tuple[optax.Updates, optax.EmptyState]:
        del params
        bound = theta / learning_rate
        return jax.tree.map(lambda g: jnp.clip(g, -bound, bound), updates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def descend_by_rate() -> optax.GradientTransformationExtraArgs:
    """Multiplies updates by minus the `learning_rate` that `update` is given."""

    def update(
        updates: optax.Updates,
        state: optax.EmptyState,
        params: optax.Params | None = None,
        *,
        learning_rate: jax.Array,
        **_: Any,
    ) -> tuple[optax.Updates, optax.EmptyState]:
        del params
        return jax.tree.map(lambda u: -learning_rate.astype(u.dtype) * u, updates), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def by_branch(
    moments: optax.GradientTransformation, branch: Branch
) -> optax.GradientTransformation:
    """Keeps the moments, and Adam's count of steps, of every branch of a network apart.

    A step of one scale of MDSR has gradients for the shared layers and for that scale's. The
    other branches are not in `updates`, and their moments and counts stay as they are: as the
    official code does under PyTorch 2, which leaves out parameters without a gradient.

    Args:
        moments: the transformation whose state is kept apart.
        branch: top-level layer -> the branch that it belongs to.
    """

    def split(tree: Any) -> dict[str, dict[str, Any]]:
        parts: dict[str, dict[str, Any]] = {}
        for layer, value in tree.items():
            parts.setdefault(str(branch(layer) or "shared"), {})[layer] = value
        return parts

    def init(params: Any) -> dict[str, Any]:
        return {name: moments.init(part) for name, part in split(params).items()}

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params  # moments depend on gradients alone
        merged: dict[str, Any] = {}
        state = dict(state)
        for name, part in split(updates).items():
            part, state[name] = moments.update(part, state[name])
            merged |= part
        return merged, state

    return optax.GradientTransformation(init, update)


def scale_layers(rates: Mapping[str, float]) -> optax.GradientTransformation:
    """Multiplies the updates of single layers (SRCNN section 3.3: the last layer learns at 0.1).

    Args:
        rates: top-level name in `params` -> factor; layers that are not named keep theirs.
    """

    def init(params: Any) -> optax.EmptyState:
        unknown = sorted(rates.keys() - params.keys())
        if unknown:
            raise ValueError(
                f"optimizer.layer_rates names {', '.join(unknown)}; "
                f"the network's layers are {', '.join(params)}"
            )
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        scaled = {
            name: jax.tree.map(lambda u, rate=rates[name]: u * rate, layer)
            if name in rates
            else layer
            for name, layer in updates.items()
        }
        return scaled, state

    return optax.GradientTransformation(init, update)
