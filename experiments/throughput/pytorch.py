"""The columns of PyTorch: the twins eager, in channels_last and compiled."""

import contextlib
import copy
import signal
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from experiments.throughput.contenders import Contender
from experiments.throughput.networks import Cell
from experiments.throughput.ours import ADVERSARIAL_WEIGHT, flat
from experiments.twins import create_twin
from experiments.twins.weights import numpy_state, randomise, to_nhwc
from sr_jax.interop.torch import from_torch

TOO_LONG = "compiling takes more than {} s"
LAYOUTS = {"eager": torch.contiguous_format, "channels_last": torch.channels_last}


def device() -> torch.device:
    """Where the twins run: on the accelerator if PyTorch sees one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def twins_of(cell: Cell, algorithm: str) -> tuple[nn.Module, ...]:
    """The twin, and the discriminator for an adversarial step; weights by a fixed seed."""
    network = cell.network
    chosen = {} if algorithm == "plain" else {"algorithm": algorithm}
    twins = [create_twin(network.architecture, **network.hyperparameters, **chosen)]
    if cell.task == "train" and network.adversarial:
        twins.append(create_twin("srgan_discriminator", image_size=cell.output_size[0]))
    return tuple(twins)


def randomised(cell: Cell, twins: tuple[nn.Module, ...]) -> tuple[nn.Module, ...]:
    """The twins with the weights that every contender of a row has."""
    for seed, twin in enumerate(twins, start=1):
        randomise(twin, seed, cell.network.gain)
    return twins


class Format(NamedTuple):
    """How a column runs.

    Attributes:
        layout: of images and weights in memory.
        compile: whether `torch.compile` compiles the network.
        compile_limit: seconds after which that is given up.
    """

    layout: torch.memory_format
    compile: bool = False
    compile_limit: float = 600.0


def inference(cell: Cell, twin: nn.Module, images: np.ndarray, how: Format) -> Contender:
    """The forward pass in inference mode; `images` are (N, H, W, C) in [0, 1]."""
    white = twin.rgb_range
    twin = _placed(twin, how).eval()
    inputs = _tensor(images * white, how)
    network = _network(cell, twin, how)

    def run() -> torch.Tensor:
        with torch.inference_mode(), _autocast(cell):
            output = network(inputs)
        _synchronise()
        return output

    def result() -> Mapping[str, np.ndarray]:
        return {"output": to_nhwc(run().float().cpu()) / white}

    return Contender(run, result, compile_seconds(run, how))


def training(
    cell: Cell,
    twins: tuple[nn.Module, ...],
    images: np.ndarray,
    targets: np.ndarray,
    how: Format,
) -> Contender:
    """A training step on one batch, over and over: forward, loss, backward, Adam."""
    white = twins[0].rgb_range
    twins = tuple(_placed(twin, how).train() for twin in twins)
    inputs, wanted = (_tensor(array * white, how) for array in (images, targets))
    networks = [_network(cell, twins[0], how), *(_compiled(twin, how) for twin in twins[1:])]
    optimizers = [
        torch.optim.Adam([p for p in twin.parameters() if p.requires_grad], lr=1e-4, fused=True)
        for twin in twins
    ]

    def losses() -> dict[str, torch.Tensor]:
        with _autocast(cell):
            if len(twins) == 1:
                return {"loss": plain_loss(networks[0], inputs, wanted)}
            return dict(adversarial_losses(networks, twins[1], inputs, wanted))

    def run() -> dict[str, torch.Tensor]:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        found = losses()
        for loss in found.values():
            loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        _synchronise()
        return found

    def result() -> Mapping[str, np.ndarray]:
        found = {name: loss.detach().cpu().numpy() for name, loss in run().items()}
        for index, (twin, optimizer) in enumerate(zip(twins, optimizers, strict=True)):
            found[f"gradient {index}"] = _gradient(twin, optimizer)
        return found

    seconds = None
    if how.compile:
        seconds = compile_seconds(lambda: sum(losses().values()).backward(), how)
    return Contender(run, result, seconds)


def plain_loss(
    network: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """L1, in the units of the twin."""
    return F.l1_loss(network(inputs).float(), wanted)


def adversarial_losses(
    networks: list[Callable[..., torch.Tensor]],
    discriminator: nn.Module,
    inputs: torch.Tensor,
    wanted: torch.Tensor,
) -> Iterator[tuple[str, torch.Tensor]]:
    """SRGAN-MSE: `sr_jax.training.adversarial` in PyTorch; both at the networks before the step."""
    generate, judge = networks
    fake = generate(inputs)
    # Its gradient by the discriminator's weights is of no use to the generator.
    discriminator.requires_grad_(False)
    logits = judge(fake).float()
    discriminator.requires_grad_(True)
    content = F.mse_loss(fake.float(), wanted)
    yield "loss", content + ADVERSARIAL_WEIGHT * F.softplus(-logits).mean()
    real, generated = judge(wanted).float(), judge(fake.detach()).float()
    loss = F.softplus(-real).mean() + F.softplus(generated).mean()
    yield "loss of the discriminator", loss


class Cost(NamedTuple):
    """What one run takes, found without running it.

    Attributes:
        flops: floating-point operations of convolutions and matrix products.
        peak_bytes: tensors alive at once, parameters and their gradients included.
    """

    flops: int
    peak_bytes: int


def cost(cell: Cell, algorithm: str) -> Cost:
    """Traces a forward pass, and a backward pass, on tensors without contents."""
    with torch.device("meta"):
        twins = twins_of(cell, algorithm)
        shape = (cell.batch, cell.network.n_colors)
        images, targets = (
            torch.empty(*shape, *size) for size in (cell.input_size, cell.output_size)
        )
    held = sum(p.nbytes for twin in twins for p in twin.parameters())
    training = cell.task == "train"
    counter, memory = FlopCounterMode(display=False), _LiveBytes()
    with torch.set_grad_enabled(training), memory, counter:
        network = _network(cell, twins[0], Format(torch.contiguous_format))
        if not training:
            network(images)
        elif len(twins) == 1:
            plain_loss(network, images, targets).backward()
        else:
            losses = adversarial_losses([network, twins[1]], twins[1], images, targets)
            for loss in dict(losses).values():
                loss.backward()
    # Adam has two moments.
    return Cost(counter.get_total_flops(), memory.peak + held * (3 if training else 1))


class _LiveBytes(TorchDispatchMode):
    """The most bytes that the results of operations took at once."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._seen: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for result in torch.utils._pytree.tree_leaves(results):
            if isinstance(result, torch.Tensor):
                self._add(result.untyped_storage())
        return results

    def _add(self, storage: Any) -> None:
        if storage in self._seen:
            return
        self._seen.add(storage)
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, storage.nbytes())

    def _drop(self, size: int) -> None:
        self.live -= size


def _placed(twin: nn.Module, how: Format) -> nn.Module:
    return copy.deepcopy(twin).to(device(), memory_format=how.layout)


def _tensor(images: np.ndarray, how: Format) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return tensor.to(device()).contiguous(memory_format=how.layout)


def _network(cell: Cell, twin: nn.Module, how: Format) -> Callable[[torch.Tensor], torch.Tensor]:
    network = _compiled(twin, how)
    if cell.network.architecture.startswith("mdsr"):
        return lambda images: network(images, cell.network.scale)
    return network


def _compiled(twin: nn.Module, how: Format) -> Callable[..., torch.Tensor]:
    return torch.compile(twin, dynamic=False) if how.compile else twin


def _autocast(cell: Cell) -> Any:
    if cell.dtype == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device().type, getattr(torch, cell.dtype))


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def compile_seconds(first_run: Callable[[], Any], how: Format) -> float | None:
    """The first run's time, which is that of the compiler.

    Raises:
        TimeoutError: it took more than the limit.
    """
    if not how.compile:
        return None

    def give_up(number: int, frame: object) -> None:
        raise TimeoutError(TOO_LONG.format(round(how.compile_limit)))

    before = signal.signal(signal.SIGALRM, give_up)
    # Again and again: Python drops an error that is raised while an object is finalised.
    signal.setitimer(signal.ITIMER_REAL, how.compile_limit, 1)
    start = time.perf_counter()
    try:
        first_run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return time.perf_counter() - start


def _gradient(twin: nn.Module, optimizer: torch.optim.Adam) -> np.ndarray:
    """The gradient of the first step, in sr_jax's order, from Adam's first moments."""
    state = numpy_state(copy.deepcopy(twin).cpu())
    b1 = optimizer.param_groups[0]["betas"][0]
    for name, parameter in twin.named_parameters():
        if parameter.requires_grad:  # `from_torch` knows the range by the mean shift
            moments = optimizer.state.get(parameter)
            zero = torch.zeros(parameter.shape)
            state[name] = (moments["exp_avg"].cpu() / (1 - b1) if moments else zero).numpy()
    return flat(from_torch(state)[1]["params"])
