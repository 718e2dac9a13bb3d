"""Is every network right on the card? Goldens, gradients of a step, and resuming to the bit."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

from experiments.goldens import CASES, FOLDER, nhwc, read, relative_error
from experiments.gpu.serving import serve
from sr_jax.interop.torch import from_torch
from sr_jax.models import forward
from sr_jax.ops.target import compiler_options

PRECISIONS = ("float32", "tf32", "bfloat16")
REFERENCES = Path(__file__).with_name("references")
SAMPLES = 256  # of each parameter's gradient that are compared
# Of the output, as tests/models/test_goldens.py has it in float32. TF32 has 10 bits and bfloat16 7:
# what 20 to 400 layers make of their rounding is measured here, and held to three per cent and a
# fifth, the bounds that experiments/throughput has for what is timed.
TOLERANCES = {"float32": 2e-5, "tf32": 3e-2, "bfloat16": 2e-1}
# A gradient jumps where a ReLU's argument is rounded to the other side of zero: one crossing costs
# up to 5e-3 in float32 (tests/models/test_goldens.py), and more cross in the shorter types. A
# gradient of zeros has an error of 1.
GRADIENT_TOLERANCES = {"float32": 1e-2, "tf32": 3e-1, "bfloat16": 5e-1}
SMALL = ("srcnn_915_y", "vdsr_y_bias", "edsr_baseline_x2")


def items(small: bool) -> list[str]:
    """What the child is asked: every case in every precision, the quick networks first."""
    cases = SMALL if small else tuple(CASES)
    return [f"{case} {precision}" for precision in PRECISIONS for case in cases] + ["resume"]


def measure(item: str, options: dict[str, Any]) -> dict[str, Any]:
    """One of `items`."""
    if item == "resume":
        return resume(Path(options["scratch"]))
    case, precision = item.split()
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    with jax.default_matmul_precision("highest" if precision == "float32" else "default"):
        output, gradients = run(case, dtype)
    golden = read(FOLDER / f"{case}.npz")
    found = {
        "output": relative_error(output, nhwc(golden.arrays["output"])),
        "gradient": gradient_error(case, gradients),
        "tolerance": TOLERANCES[precision],
        "gradient_tolerance": GRADIENT_TOLERANCES[precision],
    }
    right = found["output"] <= found["tolerance"]
    right = right and found["gradient"] <= found["gradient_tolerance"]
    return found | {"right": bool(right)}


def run(case: str, dtype: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The output in the official units, and all gradients of a training step's loss.

    The gradients are those of mean |output - target| in training mode, by path.
    """
    golden = read(FOLDER / f"{case}.npz")
    model, variables = from_torch(golden.state_dict)
    white, scale = golden.white, model.call_scale(golden.meta["scale"])
    stored = jnp.promote_types(dtype, jnp.float32)
    x = jnp.asarray(nhwc(golden.arrays["input"]), stored) / white
    target = jnp.asarray(nhwc(golden.arrays["target"]), stored)
    output = forward(model, variables, x.astype(dtype), scale=scale)

    def loss(params: Any, rest: Any, x: jax.Array) -> jax.Array:
        predicted, _ = model.apply(
            {**rest, "params": params},
            x.astype(dtype),
            scale=scale,
            train=True,
            mutable=["batch_stats"],
        )
        return jnp.mean(jnp.abs(predicted.astype(stored) * white - target))

    rest = dict(variables)
    params = jax.tree.map(lambda p: p.astype(stored), rest.pop("params"))
    gradients = jax.jit(jax.grad(loss), compiler_options=compiler_options())(params, rest, x)
    return np.asarray(output, np.float64) * white, dict(_by_path(gradients))


def gradient_error(case: str, gradients: dict[str, np.ndarray]) -> float:
    """Relative error of sampled values, of all parameters together, against float64's."""
    reference = np.load(REFERENCES / f"{case}.npz")
    # Each parameter in units of its gradient's norm: the small ones count as much.
    ours, theirs = [], []
    for name in reference.files:
        if name.endswith(":norm") or reference[f"{name}:norm"] == 0:
            continue
        norm = float(reference[f"{name}:norm"])
        ours.append(sample(gradients[name]) / norm)
        theirs.append(reference[name].astype(np.float64) / norm)
    return relative_error(np.concatenate(ours), np.concatenate(theirs))


def sample(gradient: np.ndarray) -> np.ndarray:
    """At most `SAMPLES` values, evenly over the array."""
    flat = np.ravel(gradient).astype(np.float64)
    return flat[:: max(1, flat.size // SAMPLES)][:SAMPLES]


def write_references() -> None:
    """Computes the gradients in float64, on a CPU, and stores samples and norms of each."""
    REFERENCES.mkdir(exist_ok=True)
    for case in CASES:
        with jax.enable_x64(True):
            _, gradients = run(case, jnp.float64)
        arrays = {}
        total = np.sqrt(sum(np.linalg.norm(g) ** 2 for g in gradients.values()))
        for name, gradient in gradients.items():
            norm = np.linalg.norm(gradient)
            # Biases before a normalisation have none but rounding's.
            arrays[f"{name}:norm"] = np.float64(norm if norm > 1e-9 * total else 0)
            arrays[name] = sample(gradient).astype(np.float32)
        np.savez_compressed(REFERENCES / f"{case}.npz", **arrays)
        print(case, len(gradients), "parameters")


def resume(scratch: Path) -> dict[str, Any]:
    """Trains a small network in one go and in two halves, by the deterministic algorithms."""
    environment = os.environ | {
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", "") + " --xla_gpu_deterministic_ops=true"
    }
    command = [sys.executable, "-m", "sr_jax.main", "--config=configs/edsr.py:smoke"]
    settings = ["--config.train.checkpoint_every=10", "--config.train.eval_every=20"]
    settings.append("--config.data.placement=device")  # TensorFlow need not be there

    def train(workdir: Path, steps: int) -> None:
        subprocess.run(
            [*command, *settings, f"--config.train.steps={steps}", f"--workdir={workdir}"],
            env=environment,
            check=True,
            stdout=sys.stderr,
        )

    train(scratch / "whole", 20)
    train(scratch / "halves", 10)
    train(scratch / "halves", 20)
    whole, halves = (
        safetensors.numpy.load_file(scratch / name / "weights.safetensors")
        for name in ("whole", "halves")
    )
    same = [np.array_equal(value, halves[name]) for name, value in whole.items()]
    return {"right": all(same), "tensors": len(same), "equal": sum(same)}


def _by_path(tree: Any) -> Iterator[tuple[str, np.ndarray]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        yield "/".join(str(key.key) for key in path), np.asarray(leaf, np.float64)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write-references"]:
        write_references()
    else:
        serve(measure)
