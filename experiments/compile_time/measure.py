"""How long XLA compiles the deep networks, with their repeated blocks scanned and unrolled.

python -m experiments.compile_time.measure [--only rcan] [--no-unrolled]
"""

import time
from typing import Annotated
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import typer

from sr_jax.models import create_model
from sr_jax.ops.target import compiler_options

NETWORKS = {
    "edsr_baseline": {"scale": 2},
    "edsr": {"scale": 2},
    "mdsr": {},
    "rcan": {"scale": 4},
    "san": {"scale": 4},
    "csnln": {"scale": 2},
}
SIDE = 48  # LR pixels, batch 1


def seconds_to_compile(name: str, *, train: bool, unroll: bool) -> float:
    """Tracing, lowering and compiling; nothing is run and no parameter is made."""
    model = create_model(name, **NETWORKS[name])
    scale = NETWORKS[name].get("scale", 2)
    images = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.float32)
    target = jax.ShapeDtypeStruct((1, scale * SIDE, scale * SIDE, 3), jnp.float32)

    def forward(variables, images):
        return model.apply(variables, images, scale=scale)

    def step(variables, images, target):
        def loss(params):
            return jnp.abs(forward({**variables, "params": params}, images) - target).mean()

        value, gradient = jax.value_and_grad(loss)(variables["params"])
        return value, jax.tree.map(lambda p, g: p - 1e-4 * g, variables["params"], gradient)

    scan = nn.scan

    def unrolled_scan(*args, **options):
        return scan(*args, **{**options, "unroll": options["length"]})

    with mock.patch.object(nn, "scan", unrolled_scan if unroll else scan):
        variables = jax.eval_shape(
            lambda key: model.init(key, jnp.zeros((1, 24, 24, 3)), scale=scale), jax.random.key(0)
        )
        arguments = (variables, images, target) if train else (variables, images)
        jax.clear_caches()
        start = time.perf_counter()
        jitted = jax.jit(step if train else forward, compiler_options=compiler_options())
        jitted.lower(*arguments).compile()
    return time.perf_counter() - start


def main(
    only: Annotated[str | None, typer.Option(help="One network.")] = None,
    unrolled: Annotated[bool, typer.Option(help="Also with all repetition written out.")] = True,
) -> None:
    """Prints a table in Markdown."""
    print("| network | forward | forward, unrolled | training step | training step, unrolled |")
    print("|---|---|---|---|---|")
    for name in [only] if only else NETWORKS:
        cells = []
        for train in (False, True):
            for unroll in (False, True):
                if unroll and not unrolled:
                    cells.append("not run")
                    continue
                cells.append(f"{seconds_to_compile(name, train=train, unroll=unroll):.1f} s")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
