"""What a training step carries from one update to the next."""

from collections.abc import Mapping
from typing import Any

import flax.struct
import flax.traverse_util
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from sr_jax.memory import available_memory
from sr_jax.mesh import replicated
from sr_jax.models import example_images
from sr_jax.models.network import Network
from sr_jax.ops.target import compiler_options


@flax.struct.dataclass
class TrainState:
    """Everything that a checkpoint must hold for training to go on as if never interrupted.

    Attributes:
        step: updates done.
        params: the trainable variables.
        rest: all other collections, `constants` and `batch_stats`.
        opt_state: of the optimiser.
        ema: exponential moving average of `params`; None where the recipe has none.
    """

    step: jax.Array
    params: Any
    rest: dict[str, Any]
    opt_state: optax.OptState
    ema: Any

    def variables(self) -> dict[str, Any]:
        """The variables to evaluate and to ship: the averaged parameters where there are any."""
        return {"params": self.params if self.ema is None else self.ema, **self.rest}


@flax.struct.dataclass
class AdversarialState:
    """The state of two networks that train against each other.

    Attributes:
        generator: the network that upscales.
        discriminator: the network that judges it.
    """

    generator: TrainState
    discriminator: TrainState

    @property
    def step(self) -> jax.Array:
        """Updates done, of each network."""
        return self.generator.step

    @property
    def params(self) -> Any:
        """The trainable variables of the generator."""
        return self.generator.params

    def variables(self) -> dict[str, Any]:
        """The variables of the generator, which are what is evaluated and shipped."""
        return self.generator.variables()


State = TrainState | AdversarialState


def create_state(
    model: Network,
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    seed: int,
    ema: bool = False,
    start_from: Mapping[str, Any] | None = None,
    dtype: Any = jnp.float32,
) -> TrainState:
    """Initialises a network and its optimiser directly on the devices of the mesh.

    Args:
        model: the network.
        optimizer: the optimiser.
        mesh: where the state shall live, replicated.
        seed: of the initial parameters.
        ema: whether an average of the parameters is kept.
        start_from: variables that replace the initial ones, by path; shapes must agree.
        dtype: of the computation. Variables are float32, or float64 if it is.

    Returns:
        The state of step 0.

    Raises:
        ValueError: it takes more memory than a device has.
    """
    stored = jnp.promote_types(dtype, jnp.float32)

    def create(key: jax.Array, start_from: Mapping[str, Any]) -> TrainState:
        variables = dict(model.init(key, example_images(model)))
        flat = flax.traverse_util.flatten_dict(variables, sep="/")
        variables = flax.traverse_util.unflatten_dict({**flat, **start_from}, sep="/")
        variables = jax.tree.map(
            lambda x: x.astype(stored) if jnp.issubdtype(x.dtype, jnp.floating) else x, variables
        )
        params = variables.pop("params")
        return TrainState(
            step=jnp.zeros([], jnp.int32),
            params=params,
            rest=variables,
            opt_state=optimizer.init(params),
            ema=params if ema else None,
        )

    arrays = jax.tree.leaves(jax.eval_shape(create, jax.random.key(seed), dict(start_from or {})))
    needed, free = sum(array.size * array.dtype.itemsize for array in arrays), available_memory()
    if needed > free:
        raise ValueError(
            f"the network and its optimiser take {needed / 2**30:.1f} GiB, but "
            f"{free / 2**30:.1f} GiB are free: make the network smaller (n_feats, n_resblocks ...)"
        )
    init = jax.jit(create, out_shardings=replicated(mesh), compiler_options=compiler_options())
    return init(jax.random.key(seed), dict(start_from or {}))
