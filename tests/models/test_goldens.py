"""The networks equal the official PyTorch code on the same weights, forward and gradient.

Error is ||y - reference|| / ||reference||. The goldens are float64 computations stored as
float32, so 2e-7 is the floor under x64; in float32 the official code itself is off by up to 1e-5
of the output's norm, hence 2e-5. Gradients of an L1 loss through ReLUs jump at kinks, which
rounding can cross (one crossing costs VDSR's gradient 5e-3): 1e-6 under x64; 1e-3 in float32 for
at least one of the two ways in which XLA:CPU orders the sums of a convolution.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sr_jax import sharding
from sr_jax.models import create_model, forward

HWIO = (2, 3, 1, 0)

CASES = {
    "srcnn_915_y": ("srcnn_915", {}),
    "vdsr_y_nobias": ("vdsr_nobias", {}),
    "vdsr_y_bias": ("vdsr", {}),
    "edsr_baseline_x2": ("edsr_baseline", {"scale": 2}),
    "edsr_full_x4": ("edsr", {"scale": 4}),
}


def conv(weights: dict[str, np.ndarray], name: str, suffix: str = "") -> dict[str, Any]:
    found = {"kernel": weights[f"{name}.weight{suffix}"].transpose(HWIO)}
    if f"{name}.bias" in weights:
        found["bias"] = weights[f"{name}.bias"]
    return found


def stack(layers: list[dict[str, Any]]) -> dict[str, Any]:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *layers)


def srcnn_variables(w: dict[str, np.ndarray]) -> dict[str, Any]:
    # mmagic's and yjn870's names.
    return {"params": {f"conv_{i}": conv(w, f"conv{i + 1}") for i in range(3)}}


def vdsr_variables(w: dict[str, np.ndarray]) -> dict[str, Any]:
    if "input.weight" in w:  # twtygqyy
        head, tail = conv(w, "input"), conv(w, "output")
        body = [conv(w, f"residual_layer.{i}.conv") for i in range(18)]
    else:  # the EDSR repository
        head, tail = conv(w, "body.0.0"), conv(w, "body.19.0")
        body = [conv(w, f"body.{i}.0") for i in range(1, 19)]
    return {"params": {"head": head, "body": stack(body), "tail": tail}}


def edsr_variables(w: dict[str, np.ndarray]) -> dict[str, Any]:
    depth = max(int(name.split(".")[1]) for name in w if name.startswith("body."))
    stages = [f"tail.0.{i}" for i in (0, 2, 4) if f"tail.0.{i}.weight" in w]
    return {
        "constants": {name: conv(w, name) for name in ("sub_mean", "add_mean")},
        "params": {
            "head": conv(w, "head.0"),
            "body": {
                f"conv_{j}": stack([conv(w, f"body.{i}.body.{2 * j}") for i in range(depth)])
                for j in range(2)
            },
            "body_conv": conv(w, f"body.{depth}"),
            "upsampler": {f"conv_{i}": conv(w, stage) for i, stage in enumerate(stages)},
            "tail": conv(w, "tail.1"),
        },
    }


CONVERTERS = {"SRCNN": srcnn_variables, "VDSR": vdsr_variables, "EDSR": edsr_variables}


def relative_error(value: Any, reference: np.ndarray) -> float:
    difference = np.asarray(value, np.float64) - reference
    return float(np.linalg.norm(difference) / np.linalg.norm(np.asarray(reference, np.float64)))


def loss_gradients(model, variables, x, target, white, options) -> tuple[Any, Any, Any]:
    """mean(|output - target|) in the official units; its gradients by parameters and input."""

    def loss(params: Any, images: jax.Array) -> jax.Array:
        predicted = model.apply({**variables, "params": params}, images / white)
        return jnp.mean(jnp.abs(predicted * white - target))

    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)), compiler_options=options)
    value, (grad_params, grad_x) = step(variables["params"], x)
    first = "conv_0" if "conv_0" in grad_params else "head"
    return value, grad_params[first]["kernel"], grad_x


def check(golden, case, dtype, tolerance, gradient_tolerance, compilers):
    name, hyperparameters = CASES[case]
    reference = golden(case)
    model = create_model(name, **hyperparameters)
    variables = CONVERTERS[type(model).__name__](reference.state_dict)
    # Metadata says rgb255 where the official network takes 0..255; ours takes [0, 1].
    white = 255 if reference.meta["input_kind"] == "rgb255" else 1
    x, y, target, grad_x = (
        jnp.asarray(reference.arrays[key].transpose(0, 2, 3, 1), dtype)
        for key in ("input", "output", "target", "grad_input")
    )
    grad_kernel = reference.arrays["grad_first_conv"].transpose(HWIO)
    output = forward(model, variables, x / white)
    assert output.dtype == dtype
    assert relative_error(output * white, y) <= tolerance
    gradient_errors = []
    for options in compilers:
        value, *gradients = loss_gradients(model, variables, x, target, white, options)
        assert relative_error(value, reference.meta["loss_l1_mean"]) <= tolerance
        errors = map(relative_error, gradients, (grad_kernel, grad_x))
        gradient_errors.append(max(errors))
    assert min(gradient_errors) <= gradient_tolerance


@pytest.mark.parametrize("case", CASES)
def test_float32(golden, case):
    check(golden, case, np.float32, 2e-5, 1e-3, ({}, sharding.compiler_options()))


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=pytest.mark.slow) if "full" in c else c for c in CASES]
)
def test_float64(golden, case):
    with jax.enable_x64(True):
        check(golden, case, np.float64, 2e-7, 1e-6, ({},))
