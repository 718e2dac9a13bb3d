"""Optimisers and schedules against hand-computed cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sr_jax.configuration import get_defaults
from sr_jax.models import create_model
from sr_jax.recipe import read_optimizer, read_schedule


def config(**fields):
    section = get_defaults().optimizer
    section.update(fields)
    return section


def test_schedule_decays_every_and_at():
    schedule = read_schedule(
        config(learning_rate=0.1, decay_factor=0.1, decay_every=10, decay_at=(5, 12))
    )
    rates = {0: 0.1, 4: 0.1, 5: 0.01, 9: 0.01, 10: 1e-3, 12: 1e-4, 19: 1e-4, 20: 1e-5}
    for count, rate in rates.items():
        assert float(schedule(jnp.asarray(count))) == pytest.approx(rate, rel=1e-6)


def run(section, params, gradients):
    optimizer, schedule = read_optimizer(section), read_schedule(section)
    state = optimizer.init(params)
    for count, gradient in enumerate(gradients):
        rate = schedule(jnp.asarray(count))
        updates, state = optimizer.update(gradient, state, params, learning_rate=rate)
        params = jax.tree.map(jnp.add, params, updates)
    return params


def test_schedule_warms_up_and_falls_along_a_cosine():
    schedule = read_schedule(config(learning_rate=0.1, warmup=4, cosine=8))
    rising = [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]
    falling = [(1 + np.cos(np.pi * min(1, step / 8))) / 2 for step in range(10)]
    found = [float(schedule(step)) for step in range(10)]
    np.testing.assert_allclose(found, 0.1 * np.multiply(rising, falling), rtol=1e-6, atol=1e-9)
    alone = read_schedule(config(learning_rate=0.1, warmup=2))
    np.testing.assert_allclose(
        [float(alone(step)) for step in range(3)], [0.05, 0.1, 0.1], rtol=1e-6
    )


def test_vdsr_clips_by_the_current_rate_then_decays_weights():
    """theta 0.01: the bound is 0.01 / 0.1 = 0.1, then 0.01 / 0.01 = 1; momentum 0.5."""
    params = run(
        config(
            name="sgd",
            learning_rate=0.1,
            decay_factor=0.1,
            decay_every=1,
            momentum=0.5,
            weight_decay=0.2,
            clip="adjustable",
            clip_bound=0.01,
        ),
        {"a": jnp.asarray([1.0, -2.0])},
        [{"a": jnp.asarray([7.0, 0.05])}, {"a": jnp.asarray([-7.0, 0.5])}],
    )
    first = np.array([0.1, 0.05]) + 0.2 * np.array([1.0, -2.0])
    weights = np.array([1.0, -2.0]) - 0.1 * first
    second = np.array([-1.0, 0.5]) + 0.2 * weights
    np.testing.assert_allclose(params["a"], weights - 0.01 * (second + 0.5 * first), rtol=1e-6)


def test_adam_is_the_papers():
    """Kingma and Ba, algorithm 1, two steps by hand. float32: 1 - 0.999**t loses 5 digits."""
    gradients = [{"a": jnp.asarray(g)} for g in (0.5, -0.25)]
    params = run(config(learning_rate=0.1), {"a": jnp.asarray(1.0)}, gradients)
    m = v = 0.0
    weight = 1.0
    for t, g in enumerate((0.5, -0.25), start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        weight -= 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    assert float(params["a"]) == pytest.approx(weight, rel=1e-5)


def test_layer_rates():
    params = {"conv_0": {"k": jnp.ones(2)}, "conv_2": {"k": jnp.ones(2)}}
    section = config(name="sgd", learning_rate=1.0, momentum=0.0, layer_rates={"conv_2": 0.1})
    params = run(section, params, [jax.tree.map(jnp.ones_like, params)])
    np.testing.assert_allclose(params["conv_0"]["k"], 0.0)
    np.testing.assert_allclose(params["conv_2"]["k"], 0.9)
    with pytest.raises(ValueError, match="layer_rates names conv_9; the network's layers are a"):
        read_optimizer(config(layer_rates={"conv_9": 0.1})).init({"a": jnp.ones(1)})


def test_branches_keep_their_own_moments_and_counts():
    """Adam, b1 0.9: a branch's first step is a full one however many steps others have done."""
    optimizer = read_optimizer(config(learning_rate=0.1), create_model("mdsr"))
    params = {name: jnp.ones(2) for name in ("head", "upsampler_x2", "upsampler_x3")}
    state = first = optimizer.init(params)
    for names in (("head", "upsampler_x2"), ("head", "upsampler_x2"), ("head", "upsampler_x3")):
        before = state
        gradients = {name: jnp.full(2, 0.5) for name in names}
        active = {name: params[name] for name in names}
        updates, state = optimizer.update(gradients, state, active, learning_rate=jnp.asarray(0.1))
        assert updates.keys() == gradients.keys()
        if "upsampler_x3" not in names:
            np.testing.assert_array_equal(
                state[2]["3"].mu["upsampler_x3"], first[2]["3"].mu["upsampler_x3"]
            )
            assert state[2]["3"].count == 0
        else:
            jax.tree.map(np.testing.assert_array_equal, state[2]["2"], before[2]["2"])
    assert (state[2]["shared"].count, state[2]["2"].count, state[2]["3"].count) == (3, 2, 1)
    np.testing.assert_allclose(
        updates["upsampler_x3"], -0.1, rtol=1e-5
    )  # bias-corrected as a first step


def test_unknown_names_are_listed():
    with pytest.raises(ValueError, match=r"optimizer.name is 'adamw'; known are adam, sgd"):
        read_optimizer(config(name="adamw"))
    with pytest.raises(ValueError, match=r"optimizer.clip is 'all'; known are none, adjustable"):
        read_optimizer(config(clip="all"))
