"""Compiles one network for a device that is not there: see `python -m experiments.programs`."""

import functools
import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import typer
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from configs import csnln, edsr, mdsr, rcan, san, srcnn, srgan, srresnet, vdsr
from experiments.harness import commit
from experiments.programs.hlo import count, parse
from sr_jax.models import create_model, example_images, forward, multiply_adds
from sr_jax.ops.devices import BATCH_AXIS
from sr_jax.ops.target import Target, traced_for
from sr_jax.recipe import read_optimizer, read_schedule
from sr_jax.training.adversarial import make_adversarial_step
from sr_jax.training.losses import get_loss
from sr_jax.training.state import AdversarialState, TrainState
from sr_jax.training.steps import make_train_step

# Name -> the recipe. SRGAN's content loss is the pixels': VGG's weights are not at hand.
RECIPES = {
    "srcnn": (srcnn, None),
    "vdsr": (vdsr, None),
    "srresnet": (srresnet, None),
    "srgan": (srgan, "mse"),
    "edsr_baseline": (edsr, "x2,baseline"),
    "edsr": (edsr, "x2"),
    "mdsr": (mdsr, None),
    "rcan": (rcan, "x2"),
    "san": (san, "x2"),
    "csnln": (csnln, "x2"),
}
# What XLA is told of the card; the memory is in bytes.
H100 = Path(__file__).with_name("h100.txtpb")
MEMORY = {"gpu": 80 * 2**30, "tpu": 16 * 2**30}
SIDE = 512  # of the image of a forward pass, pixels at the network's input
TASKS = ("train", "forward")


def mesh_of(platform: str, chips: int) -> Mesh:
    """Devices that are not there: an H100, or chips of a TPU v5e.

    Raises:
        ValueError: a number of chips for which there is no topology.
    """
    if platform == "gpu":
        os.environ.setdefault("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "1")
        topology = topologies.get_topology_desc(
            "h100", platform="cuda", target_config=H100.read_text(), topology=f"1x1x{chips}"
        )
    else:
        names = {1: "v5e:1x1", 4: "v5e:2x2", 16: "v5e:4x4", 256: "v5e:16x16"}
        if chips not in names:
            raise ValueError(f"{chips} chips: there are topologies of {', '.join(map(str, names))}")
        host = {"chips_per_host_bounds": (1, 1, 1)} if chips == 1 else {}
        topology = topologies.get_topology_desc(platform="tpu", topology_name=names[chips], **host)
    return topologies.make_mesh(topology, (chips,), (BATCH_AXIS,))


def lower(name: str, task: str, dtype: str, mesh: Mesh) -> tuple[Any, float]:
    """A forward pass or training step of a recipe, lowered for the devices of a mesh.

    Args:
        name: one of `RECIPES`.
        task: 'train', the recipe's patches and batch on each device, or 'forward', one image of
            512 x 512.
        dtype: of the computation.
        mesh: the devices.

    Returns:
        What `jax.jit` lowers, and the operations of one device: two for each multiply-add of a
        convolution or matrix product, the backward pass counted as two forward ones.
    """
    recipe, arguments = RECIPES[name]
    config = recipe.get_config(arguments)
    model = create_model(**config.model)
    everywhere = NamedSharding(mesh, PartitionSpec())
    variables = _variables(model)
    scale = None if model.takes_interpolated else config.data.scales[0]
    if task == "forward":
        model = model.for_inference()
        images = jax.ShapeDtypeStruct((1, SIDE, SIDE, model.n_colors), dtype, sharding=everywhere)
        run = functools.partial(forward, model, scale=scale)
        lowered = jax.jit(run).lower(_placed(variables, everywhere), images)
        return lowered, 2.0 * multiply_adds(model, SIDE, SIDE, scale)
    step, state = _update(config, model, variables, scale, dtype)
    split = NamedSharding(mesh, PartitionSpec(BATCH_AXIS))
    rows, side = mesh.size * config.data.batch_size, config.data.lr_patch_size
    operations = 6.0 * config.data.batch_size * multiply_adds(model, side, side, scale)
    if config.adversarial.weight:
        # Once for the generator, there and back; twice for the discriminator's own step.
        each = multiply_adds(_judge(config), side * (scale or 1), side * (scale or 1))
        operations += 16.0 * config.data.batch_size * each
    batch = {
        key: jax.ShapeDtypeStruct((rows, s, s, model.n_colors), jnp.float32, sharding=split)
        for key, s in (("lr", side), ("hr", side * (scale or 1)))
    }
    if mesh.size > 1:
        whole, part = PartitionSpec(), PartitionSpec(BATCH_AXIS)
        step = jax.shard_map(
            step, mesh=mesh, in_specs=(whole, part), out_specs=whole, check_vma=False
        )
    return jax.jit(step, donate_argnums=0).lower(_placed(state, everywhere), batch), operations


def _judge(config: ConfigDict) -> Any:
    side = config.data.lr_patch_size * config.data.scales[0]
    return create_model("srgan_discriminator", image_size=side)


def _update(
    config: ConfigDict, model: Any, variables: Any, scale: int | None, dtype: str
) -> tuple[Any, Any]:
    """The update of a recipe as (state, batch) -> (state, metrics), and the shapes of the state."""
    optimizer = read_optimizer(config.optimizer, model)
    schedule = read_schedule(config.optimizer)
    loss = get_loss(config.loss.name, config.loss.scale)
    if not config.adversarial.weight:
        step = make_train_step(
            model,
            optimizer,
            schedule,
            scale=model.call_scale(scale),
            dtype=jnp.dtype(dtype),
        )
        return lambda state, batch: step(state, batch, loss), _state(variables, optimizer)
    judge = _judge(config)
    adversarial = make_adversarial_step(
        model, judge, optimizer, schedule, weight=config.adversarial.weight, dtype=jnp.dtype(dtype)
    )
    state = AdversarialState(_state(variables, optimizer), _state(_variables(judge), optimizer))
    return lambda state, batch: adversarial(state, batch, loss), state


def _variables(model: Any) -> Any:
    return jax.eval_shape(model.init, jax.random.key(0), example_images(model))


def _state(variables: Any, optimizer: Any) -> Any:
    def create(variables: Any) -> TrainState:
        rest = dict(variables)
        params = rest.pop("params")
        return TrainState(jnp.zeros([], jnp.int32), params, rest, optimizer.init(params), None)

    return jax.eval_shape(create, variables)


def _placed(tree: Any, sharding: NamedSharding) -> Any:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)


def row(name: str, task: str, dtype: str, form: str, platform: str, chips: int) -> dict[str, Any]:
    """Compiles one program and says what it became; see `hlo.Counts`.

    Args:
        name, task, dtype: see `lower`.
        form: 'ours', or 'textbook' for the plain forms of all operations.
        platform: 'gpu' or 'tpu'.
        chips: devices that share the batch.

    Returns:
        The arguments and the counts, and seconds of tracing and of compiling, MiB of temporaries
        and of arguments, and the text of the program.
    """
    mesh = mesh_of(platform, chips)
    target = Target(platform if form == "ours" else "any", MEMORY[platform])
    start = time.perf_counter()
    with traced_for(target):
        lowered, operations = lower(name, task, dtype, mesh)
    traced = time.perf_counter()
    program = lowered.compile()
    compiled = time.perf_counter()
    memory, text = program.memory_analysis(), program.as_text()
    found = count(parse(text))
    return {
        "network": name,
        "task": task,
        "dtype": dtype,
        "form": form,
        "platform": platform,
        "chips": chips,
        "kernels": found.kernels,
        "convolutions": dict(found.convolutions),
        "products": found.products,
        "moves": found.moves,
        "moved MiB": round(found.moved_bytes / 2**20, 1),
        "others": found.others,
        "collectives": found.collectives,
        "loops": found.loops,
        "cycles": found.cycles,
        "GFLOP": round(operations / 1e9, 3),
        "temporaries MiB": round(memory.temp_size_in_bytes / 2**20, 1),
        "arguments MiB": round(memory.argument_size_in_bytes / 2**20, 1),
        "trace s": round(traced - start, 1),
        "compile s": round(compiled - traced, 1),
        "jax": jax.__version__,
        "commit": commit(),
        "text": text,
    }


def main(
    name: str,
    task: str,
    dtype: str,
    form: str,
    platform: str,
    chips: int,
    output: Annotated[Path, typer.Argument(help="Takes the row, as JSON.")],
    text: Annotated[Path | None, typer.Option(help="Takes the optimised HLO.")] = None,
) -> None:
    """Compiles one program, in a process of its own, and writes its row."""
    found = row(name, task, dtype, form, platform, chips)
    program = found.pop("text")
    if text:
        text.write_text(program)
    part = output.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1))
    part.rename(output)


if __name__ == "__main__":
    typer.run(main)
