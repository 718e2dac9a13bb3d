"""One image sharded over several devices: each holds a part of its rows through all layers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from sr_jax.mesh import replicated
from sr_jax.models import Variables
from sr_jax.ops.rows import AXIS, split
from sr_jax.ops.target import compiler_options


class RowSharded:
    """A network, compiled for images whose rows are sharded over this process's first devices.

    Arrays that enter and leave a program can only be split into equal parts, so rows of zeros are
    added at the bottom. Inside the program the parts need not be equal: the network sees the image
    without those rows.
    """

    def __init__(
        self,
        step: Callable[[Variables, jax.Array], jax.Array],
        factor: int,
        devices: int,
    ) -> None:
        """Compiles nothing yet.

        Args:
            step: (variables, (N, H, W, C)) -> (N, factor * H, factor * W, C).
            factor: see `step`.
            devices: how many.
        """
        self._factor, self._devices = factor, devices
        self._mesh = jax.make_mesh(
            (devices,),
            (AXIS,),
            axis_types=(AxisType.Auto,),
            devices=jax.local_devices()[:devices],
        )

        def of_equal_parts(variables: Variables, images: jax.Array, height: int) -> jax.Array:
            return self._extended(jnp, split(step(variables, split(images[:, :height]))))

        rows = NamedSharding(self._mesh, PartitionSpec(None, AXIS))
        self._function = jax.jit(
            of_equal_parts,
            static_argnums=2,
            in_shardings=(replicated(self._mesh), rows),
            out_shardings=rows,
            compiler_options=compiler_options(),
        )

    def __call__(self, variables: Variables, images: np.ndarray) -> np.ndarray:
        """What `step` returns, in the host's memory."""
        height = images.shape[1]
        with jax.set_mesh(self._mesh):
            result = self._function(variables, self._extended(np, images), height)
        return np.asarray(result)[:, : self._factor * height]

    def lower(self, variables: Variables, images: jax.ShapeDtypeStruct) -> Any:
        """As of a jitted function; the compiled program's memory analysis is that of one device."""
        height = images.shape[1]
        images = jax.eval_shape(lambda x: self._extended(jnp, x), images)
        with jax.set_mesh(self._mesh):
            return self._function.lower(variables, images, height)

    def _extended(self, numpy: Any, images: Any) -> Any:
        return numpy.pad(images, ((0, 0), (0, -images.shape[1] % self._devices), (0, 0), (0, 0)))
