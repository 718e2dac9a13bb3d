"""One convolution in the forms that sr_jax has, and PyTorch's: see NOTES.md.

python -m experiments.throughput.convolutions
"""

import os
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np
import torch
import typer

from experiments.harness import environment, interleave, summary, table
from sr_jax.ops.conv import conv2d
from sr_jax.ops.target import Target, compiler_options, traced_for


class Case(NamedTuple):
    """A convolution: its input (N, H, W, C) and its kernel (k, k, C, features)."""

    name: str
    shape: tuple[int, int, int, int]
    size: int
    features: int


CASES = (
    Case("SRCNN's last", (1, 96, 96, 32), 5, 1),
    Case("SRCNN's last", (16, 33, 33, 32), 5, 1),
    Case("VDSR's last", (16, 41, 41, 64), 3, 1),
    Case("SRResNet's last", (1, 192, 192, 64), 9, 3),
    Case("EDSR's last", (1, 96, 96, 256), 3, 3),
    Case("EDSR-baseline's last", (16, 96, 96, 64), 3, 3),
    Case("64 channels", (1, 48, 48, 64), 3, 64),
    Case("64 channels", (1, 96, 96, 64), 3, 64),
    Case("64 channels", (1, 128, 128, 64), 3, 64),
    Case("64 channels", (16, 24, 24, 64), 3, 64),
    Case("64 channels", (16, 48, 48, 64), 3, 64),
    Case("64 channels", (1, 256, 256, 64), 3, 64),
    Case("64 to 256", (1, 48, 48, 64), 3, 256),
    Case("128 channels", (1, 48, 48, 128), 3, 128),
    Case("128 channels", (1, 128, 128, 128), 3, 128),
    Case("256 channels", (1, 48, 48, 256), 3, 256),
    Case("256 channels", (4, 48, 48, 256), 3, 256),
    Case("256 channels", (1, 128, 128, 256), 3, 256),
    Case("256 to 1024", (1, 48, 48, 256), 3, 1024),
)


def measure(case: Case, budget: float) -> dict[str, dict[str, float]]:
    """Median milliseconds, by task ('forward' or 'weight gradient') and contender."""
    random = np.random.default_rng(0)
    x = random.standard_normal(case.shape, np.float32)
    kernel = random.standard_normal((case.size, case.size, case.shape[3], case.features))
    kernel = (kernel / np.sqrt(kernel[..., 0].size)).astype(np.float32)
    cotangent = random.standard_normal((*case.shape[:3], case.features), np.float32)

    def forward(x: jax.Array, kernel: jax.Array, _: jax.Array) -> jax.Array:
        return conv2d(x, kernel)

    def gradient(x: jax.Array, kernel: jax.Array, cotangent: jax.Array) -> Any:
        return jax.vjp(lambda kernel: conv2d(x, kernel), kernel)[1](cotangent)[0]

    arguments = jax.device_put((x, kernel, cotangent))
    layouts = {"eager": torch.contiguous_format, "channels_last": torch.channels_last}
    tensors = {
        layout: [
            torch.from_numpy(array.copy()).contiguous(memory_format=layouts[layout])
            for array in (
                x.transpose(0, 3, 1, 2),
                kernel.transpose(3, 2, 0, 1),
                cotangent.transpose(0, 3, 1, 2),
            )
        ]
        for layout in layouts
    }

    def torch_forward(x: torch.Tensor, kernel: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(x, kernel, padding=case.size // 2)

    def torch_gradient(
        x: torch.Tensor, kernel: torch.Tensor, cotangent: torch.Tensor
    ) -> torch.Tensor:
        around = [case.size // 2] * 2
        of = (cotangent, x, kernel, None, [1, 1], around, [1, 1], False, [0, 0], 1)
        return torch.ops.aten.convolution_backward(*of, [False, True, False])[1]

    found = {}
    for task, ours, theirs in (
        ("forward", forward, torch_forward),
        ("weight gradient", gradient, torch_gradient),
    ):
        runs = {
            "chosen": _compiled(ours, arguments),
            "one convolution": _textbook(ours, arguments),
        }
        runs |= {layout: _bound(theirs, tensors[layout]) for layout in layouts}
        with torch.inference_mode():
            for run in runs.values():
                run()
            samples = interleave(runs, budget)
        found[task] = {name: 1e3 * summary(times)["median"] for name, times in samples.items()}
    return found


def _compiled(function: Callable[..., Any], arguments: Any) -> Callable[[], Any]:
    fresh = lambda *arguments: function(*arguments)  # noqa: E731, a trace of its own
    program = jax.jit(fresh, compiler_options=compiler_options()).lower(*arguments).compile()
    return lambda: jax.block_until_ready(program(*arguments))


def _textbook(function: Callable[..., Any], arguments: Any) -> Callable[[], Any]:
    with traced_for(Target("any")):
        return _compiled(function, arguments)


def _bound(function: Callable[..., Any], arguments: list[torch.Tensor]) -> Callable[[], Any]:
    return lambda: function(*arguments)


def main(
    budget: Annotated[float, typer.Option(help="Seconds of timing of each case and task.")] = 3.0,
) -> None:
    """Prints a table, case by case."""
    columns = ["chosen", "one convolution", "eager", "channels_last", "ratio"]
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    header = ["convolution", "input", "kernel", "task, ms", *columns]
    print("\n".join(table(header, ())))
    for case in CASES:
        name, shape, size, features = case
        for task, times in measure(case, budget).items():
            ratio = min(times["eager"], times["channels_last"]) / times["chosen"]
            cells = [name, "x".join(map(str, shape)), f"{size}x{size} to {features}", task]
            cells += [*(f"{times[name]:.2f}" for name in columns[:-1]), f"{ratio:.2f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\n{environment()}; torch {torch.__version__}")


if __name__ == "__main__":
    typer.run(main)
