"""The update: accumulation, averaging, cropped targets."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sr_jax.configuration import get_defaults
from sr_jax.mesh import make_mesh
from sr_jax.models import create_model
from sr_jax.ops.target import Target, traced_for
from sr_jax.recipe import read_optimizer, read_schedule
from sr_jax.training.losses import get_loss
from sr_jax.training.state import create_state
from sr_jax.training.steps import compile_step, crop_to, make_train_step

EDSR = create_model("edsr_baseline", n_resblocks=1, n_feats=4)
MESH = make_mesh(4)


def optimizer_and_schedule():
    config = get_defaults().optimizer
    config.name, config.learning_rate = "sgd", 0.01
    return read_optimizer(config), read_schedule(config)


@functools.cache
def first_state(model, ema):
    return jax.device_get(create_state(model, optimizer_and_schedule()[0], MESH, seed=0, ema=ema))


@functools.cache
def compiled(model, loss, **options):
    step = make_train_step(model, *optimizer_and_schedule(), **options)
    return compile_step(step, MESH, get_loss(*loss))


def train(count=3, model=EDSR, loss=("mse",), side=8, **options):
    """A few steps on fixed noise; returns the state and the metrics of every step."""
    state = jax.tree.map(jnp.asarray, first_state(model, options.get("ema_decay", 0.0) > 0))
    step = compiled(model, loss, **options)
    factor = 1 if model.takes_interpolated else model.scale
    rng = np.random.default_rng(0)
    history = []
    for _ in range(count):
        batch = {
            "lr": jnp.asarray(rng.random((4, side, side, model.n_colors)), jnp.float32),
            "hr": jnp.asarray(
                rng.random((4, side * factor, side * factor, model.n_colors)), jnp.float32
            ),
        }
        state, metrics = step(state, batch)
        history.append(jax.device_get(metrics))
    return jax.device_get(state), history


def test_metrics_and_step_count():
    state, history = train(3, loss=("l1", 255.0))
    assert state.step == 3
    assert history[0].keys() == {
        "loss",
        "psnr",
        "learning_rate",
        "gradient_norm",
        "parameter_norm",
    }
    assert 10 < history[0]["loss"] < 255  # in units of 0..255
    assert history[0]["learning_rate"] == np.float32(0.01)


DEEP = [
    ("edsr", {"n_resblocks": 12, "n_feats": 8, "scale": 2}),
    pytest.param(
        "csnln",
        {"depth": 6, "n_feats": 8, "scale": 2, "max_scores": 2**12, "tile": 8},
        marks=pytest.mark.slow,
    ),
    pytest.param("rcan", {"n_resgroups": 6, "n_resblocks": 2}, marks=pytest.mark.slow),
    pytest.param("san", {"n_resgroups": 6, "n_resblocks": 2}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "hyperparameters"), DEEP)
def test_rematerialisation_changes_nothing_but_memory(name, hyperparameters):
    """float32, 1e-4 of the norm of Adam's moments: the same sums, fused otherwise."""
    model = create_model(name, **hyperparameters)
    optimizer = read_optimizer(get_defaults().optimizer)
    rng = np.random.default_rng(0)
    lr, hr = rng.random((2, 24, 24, 3)), rng.random((2, 48, 48, 3))
    batch = {"lr": jnp.asarray(lr, jnp.float32), "hr": jnp.asarray(hr, jnp.float32)}
    state = create_state(model, optimizer, make_mesh(1), seed=0, ema=False)
    arguments = state, batch, get_loss("l1", 1.0)
    temporaries, results = [], []
    for remat in (False, True):
        schedule = read_schedule(get_defaults().optimizer)
        step = jax.jit(make_train_step(model, optimizer, schedule, remat=remat))
        program = step.lower(*arguments).compile()
        temporaries.append(program.memory_analysis().temp_size_in_bytes)
        new_state, metrics = program(*arguments)
        assert metrics["gradient_norm"] > 1e-3
        moments = [leaf for leaf in jax.tree.leaves(new_state.opt_state) if leaf.ndim]
        results.append(np.concatenate([np.ravel(leaf) for leaf in moments]))
    assert temporaries[1] < 0.7 * temporaries[0], temporaries
    kept, again = results
    assert np.linalg.norm(again - kept) <= 1e-4 * np.linalg.norm(kept)


def test_accumulation_changes_nothing_but_memory():
    """float32; the mean of two halves against the mean of the whole: 1e-5."""
    whole, history = train(3)
    parts, parted = train(3, accumulate=2)
    for a, b in zip(history, parted, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
        assert b["gradient_norm"] == pytest.approx(a["gradient_norm"], rel=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6),
        whole.params,
        parts.params,
    )


def test_a_batch_is_split_where_a_cpu_is_faster_and_nothing_changes():
    """As `test_accumulation_changes_nothing_but_memory`, of images that the caches do not hold."""
    _, (chosen,) = train(1, side=140)
    _, (whole,) = train(1, side=140, accumulate=1)
    for name in ("loss", "gradient_norm", "parameter_norm"):
        assert chosen[name] == pytest.approx(whole[name], rel=1e-5)


@pytest.mark.parametrize(
    ("name", "side", "platform", "split"),
    [
        ("edsr_baseline", 140, "cpu", True),
        ("edsr_baseline", 20, "cpu", False),
        ("edsr_baseline", 140, "gpu", False),
        ("srresnet", 140, "cpu", False),  # batch normalisation would see every part as a batch
    ],
)
def test_when_a_batch_is_split(name, side, platform, split):
    model = create_model(name, n_resblocks=1, n_feats=4, scale=2)
    state = first_state(model, False)
    shapes = {"lr": (4, side, side, 3), "hr": (4, 2 * side, 2 * side, 3)}
    batch = {key: jax.ShapeDtypeStruct(shape, jnp.float32) for key, shape in shapes.items()}

    def program(**options):
        step = jax.jit(make_train_step(model, *optimizer_and_schedule(), **options))
        return step.lower(state, batch, get_loss("mse")).as_text()

    with traced_for(Target(platform)):
        same = program() == program(accumulate=1)
    assert same != split


@pytest.mark.parametrize(("decay", "decays"), [(0.9, (1 / 10, 2 / 11)), (0.15, (1 / 10, 0.15))])
def test_average_of_the_parameters(decay, decays):
    """The decay rises to the one that was asked for. float32: 1e-5."""
    average = train(0, ema_decay=decay)[0].params
    for steps, now in enumerate(decays, 1):
        state, _ = train(steps, ema_decay=decay)
        average = jax.tree.map(lambda a, b, now=now: now * a + (1 - now) * b, average, state.params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), state.ema, average
    )
    assert state.variables()["params"] is state.ema
    assert train(0)[0].ema is None


def test_target_is_cropped_for_a_network_without_padding():
    model = create_model("srcnn_955", padding="valid")
    _, history = train(1, model=model, side=20)
    assert np.isfinite(history[0]["loss"])
    target = jnp.arange(36.0).reshape(1, 6, 6, 1)
    np.testing.assert_array_equal(crop_to(target, (1, 2, 2, 1)), target[:, 2:4, 2:4])


def test_constants_are_not_trained():
    state, _ = train(3)
    bias = state.rest["constants"]["sub_mean"]["bias"]
    np.testing.assert_allclose(bias, [-114.444, -111.4605, -103.02], rtol=1e-6)


def test_bfloat16_computes_and_keeps_float32_parameters():
    """bfloat16 has 8 bits of precision: the loss agrees to 2 %."""
    _, full = train(1)
    state, half = train(1, dtype=jnp.bfloat16)
    assert half[0]["loss"] == pytest.approx(full[0]["loss"], rel=0.02)
    assert half[0]["loss"] != full[0]["loss"]
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype("float32")}


def test_idle_branches_of_mdsr_do_not_move():
    """Bit for bit: parameters, moments and count of a scale that was not drawn."""
    model = create_model("mdsr_baseline", n_resblocks=1, n_feats=4)
    config = get_defaults().optimizer
    optimizer, mesh = read_optimizer(config, model), make_mesh(2)
    state = create_state(model, optimizer, mesh, seed=0)
    rng = np.random.default_rng(0)
    steps = {
        scale: compile_step(
            make_train_step(model, optimizer, read_schedule(config), scale=scale),
            mesh,
            get_loss("l1", 255.0),
        )
        for scale in (2, 3)
    }
    for scale in (2, 3, 2):
        before = jax.device_get(state)
        batch = {
            "lr": jnp.asarray(rng.random((2, 6, 6, 3)), jnp.float32),
            "hr": jnp.asarray(rng.random((2, 6 * scale, 6 * scale, 3)), jnp.float32),
        }
        state, _ = steps[scale](state, batch)
        after = jax.device_get(state)
        for layer, value in after.params.items():
            same = jax.tree.map(np.array_equal, value, before.params[layer])
            idle = model.branch(layer) not in (None, scale)
            assert all(jax.tree.leaves(same)) if idle else not any(jax.tree.leaves(same)), layer
        for name, moments in after.opt_state[2].items():
            same = jax.tree.leaves(jax.tree.map(np.array_equal, moments, before.opt_state[2][name]))
            assert all(same) if name not in ("shared", str(scale)) else not any(same), name
    counts = {name: int(moments.count) for name, moments in after.opt_state[2].items()}
    assert counts == {"shared": 3, "2": 2, "3": 1, "4": 0}
