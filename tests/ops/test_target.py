"""Programs are traced for the target that is asked for, and never served for another."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import filled, random_variables

from sr_jax.models import create_model, example_images, forward
from sr_jax.ops.attention import CPU_SCORES, scores_at_once
from sr_jax.ops.conv import conv2d
from sr_jax.ops.products import exact_matmul
from sr_jax.ops.target import (
    Target,
    keeps_loops,
    kept_loops,
    platform,
    rematerialisation,
    rematerialises,
    target,
    traced_for,
)

CARD = Target("gpu", 80 * 2**30)
DEVICES = (Target("cpu"), Target("any"), CARD, Target("tpu", 16 * 2**30))


def test_the_default_is_this_machine():
    assert platform() == jax.default_backend()
    with traced_for(CARD):
        assert target() == CARD
    assert platform() == jax.default_backend()


def test_one_jitted_function_has_a_program_for_each_target():
    x, kernel = jnp.ones((2, 60, 60, 64)), jnp.ones((3, 3, 64, 64))
    gradient = jax.jit(jax.grad(lambda k: conv2d(x, k).sum()))

    def loops() -> int:  # Winograd's form for a CPU has one, XLA's convolution none
        return gradient.lower(kernel).as_text().count("stablehlo.while")

    before = loops()
    with traced_for(Target("any")):
        assert loops() == 0
    assert loops() == before
    if jax.default_backend() == "cpu":
        assert before > 0


@pytest.mark.parametrize(
    ("context", "inside"),
    [(lambda on: rematerialisation(on), rematerialises), (lambda _: kept_loops(), keeps_loops)],
)
def test_a_context_is_part_of_the_key(context, inside):
    traced = []

    @jax.jit
    def f(x):
        traced.append(inside())
        return x

    for enabled in (False, True, False, True):
        with context(enabled) if enabled else contextlib.nullcontext():
            f(1.0)
    assert traced == [False, True]


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_kept_loops_are_a_block_compiled_once(platform):
    model = create_model("edsr_baseline", n_resblocks=4, n_feats=4)
    shapes = jax.eval_shape(model.init, jax.random.key(0), example_images(model))

    def loops() -> int:
        step = jax.jit(lambda v, x: model.apply(v, x))
        return step.lower(shapes, example_images(model)).as_text().count("stablehlo.while")

    with traced_for(Target(platform)):
        unrolled = loops()
        with kept_loops():
            assert loops() > unrolled


def test_an_accelerator_holds_scores_by_its_memory():
    with traced_for(CARD):
        large = scores_at_once()
    with traced_for(Target("tpu", 16 * 2**30)):
        assert scores_at_once() == pytest.approx(large / 5, rel=1e-6)
    # A batch of CSNLN's training patches, 48 x 48, is one block on either.
    assert large / 5 > 16 * 48**4
    for unknown in (Target("gpu"), Target("cpu", 2**40), Target("any", 2**40)):
        with traced_for(unknown):
            assert scores_at_once() == CPU_SCORES


def test_exact_products_are_three_of_tf32_on_a_gpu_alone():
    def traced(dtype: str) -> str:
        x = jnp.zeros((4, 4), dtype)
        return str(jax.make_jaxpr(exact_matmul)(x, x))

    with traced_for(CARD):
        assert "TF32_TF32_F32_X3" in traced("float32")
        assert "TF32" not in traced("bfloat16")
        assert "float32" in traced("bfloat16")  # what it is summed in
    for other in (Target("tpu"), Target("cpu"), Target("any")):
        with traced_for(other):
            assert "HIGHEST" in traced("float32")


SMALL = {
    "srcnn_915": {},
    "vdsr": {"depth": 3, "n_feats": 8},
    "srresnet": {"n_resblocks": 1, "n_feats": 8},
    "srgan_discriminator": {"n_feats": 4, "image_size": 32},
    "edsr": {"n_resblocks": 1, "n_feats": 8},
    "mdsr": {"n_resblocks": 1, "n_feats": 8},
    "rcan": {"n_resgroups": 2, "n_resblocks": 1, "n_feats": 16},
    "san": {"n_resgroups": 2, "n_resblocks": 1, "n_feats": 16},
    "csnln": {"depth": 2, "n_feats": 8},
}


def trained(model, variables, params, images):
    """The output in training mode, at x2 where the network asks."""
    output, _ = model.apply(
        {**variables, "params": params},
        images,
        scale=model.call_scale(2),
        train=True,
        mutable=["batch_stats"],
    )
    return output


@pytest.mark.parametrize("name", SMALL)
def test_textbook_forms_give_the_same_gradients(name):
    """float64, 1e-9: the same function in another form, Winograd's with some more rounding.

    Of each gradient's norm; biases before a centred covariance have none but rounding's, 1e-12.
    """
    model = create_model(name, **SMALL[name])
    with jax.enable_x64(True):
        images = jnp.asarray(np.random.default_rng(0).random(example_images(model).shape))
        # Zeros at the start would hide what depends on them.
        variables = random_variables(model, 0.1)
        params = jax.tree.map(np.float64, variables["params"])

        @jax.jit
        def gradients(params, images):
            def loss(params, images):
                return jnp.sum(jnp.sin(trained(model, variables, params, images)))

            return jax.grad(loss, argnums=(0, 1))(params, images)

        programs = {}
        for device in DEVICES:
            with traced_for(device):
                program = gradients.lower(params, images)
            programs[program.as_text()] = program  # one where two are the same to the letter
        assert len(programs) > 1
        results = [jax.tree.leaves(p.compile()(params, images)) for p in programs.values()]
    total = np.sqrt(sum(np.linalg.norm(a) ** 2 for a in results[0]))
    for others in results[1:]:
        for a, b in zip(results[0], others, strict=True):
            assert np.linalg.norm(a - b) <= 1e-9 * np.linalg.norm(a) + 1e-12 * total


@pytest.mark.parametrize("name", ["rcan", "san"])
def test_a_tpu_keeps_what_goes_from_group_to_group_alone(name):
    """In a training step; the gradients are those of loops in loops, in float64 as above."""
    model = create_model(name, n_resgroups=7, n_resblocks=3, n_feats=16)
    with jax.enable_x64(True):
        images = jnp.asarray(np.random.default_rng(0).random(example_images(model).shape))
        variables = random_variables(model, 0.1)
        params = jax.tree.map(np.float64, variables["params"])

        @jax.jit
        def gradients(params):
            return jax.grad(lambda p: trained(model, variables, p, images).sum())(params)

        found = []
        for device in (Target("any"), Target("tpu", 16 * 2**30)):
            with traced_for(device):
                program = gradients.lower(params)
            kept = f"tensor<7x3x{'x'.join(map(str, images.shape[:3]))}x16xf64>"
            assert (kept in program.as_text()) == (device.platform == "any")
            found.append(jax.tree.leaves(program.compile()(params)))
    total = np.sqrt(sum(np.linalg.norm(a) ** 2 for a in found[0]))
    for a, b in zip(*found, strict=True):
        assert np.linalg.norm(a - b) <= 1e-9 * np.linalg.norm(a) + 1e-12 * total


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("device", ["cuda", "tpu"])
def test_every_network_lowers_for_accelerators(name, device):
    """No plug-in is needed to lower; forward pass and gradient, float32 and bfloat16."""
    model = create_model(name, **SMALL[name])
    variables, shape = filled(model), example_images(model).shape

    def loss(params, variables, images):
        return jnp.sum(trained(model, variables, params, images).astype(jnp.float32))

    with traced_for(Target("gpu" if device == "cuda" else device, 16 * 2**30)):
        for dtype in (jnp.float32, jnp.bfloat16):
            images = jax.ShapeDtypeStruct(shape, dtype)
            gradient = jax.jit(jax.grad(loss)).trace(variables["params"], variables, images)
            gradient.lower(lowering_platforms=(device,))
            run = jax.jit(lambda v, x: forward(model, v, x, scale=model.call_scale(2)))
            run.trace(variables, images).lower(lowering_platforms=(device,))
