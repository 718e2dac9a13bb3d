"""One update of both networks of SRGAN against the same update written out in PyTorch."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sr_jax import weights
from sr_jax.configuration import get_defaults
from sr_jax.evaluation.perceptual import feature_loss
from sr_jax.interop.torch import from_torch, to_torch
from sr_jax.mesh import make_mesh
from sr_jax.ops.target import compiler_options
from sr_jax.recipe import read_optimizer, read_schedule
from sr_jax.training import steps
from sr_jax.training.adversarial import make_adversarial_step
from sr_jax.training.losses import Loss, get_loss
from sr_jax.training.state import AdversarialState, create_state
from sr_jax.training.steps import Batch, Metrics, compile_step

torch = pytest.importorskip("torch")

from experiments.twins import create_twin  # noqa: E402, it imports torch
from experiments.twins.weights import (  # noqa: E402, it imports torch
    numpy_state,
    randomise,
)

Twins = tuple[Any, Any]  # generator and discriminator
TorchLoss = Callable[[Any, Any], Any]
Arrays = dict[str, Any]

SIZE = 16  # of the HR patches; a multiple of 16, the one that `from_torch` reads off
BATCH = 4
WEIGHT = 1.0  # not the recipe's 1e-3, so that both terms of the loss count with random networks


@pytest.fixture(autouse=True, scope="module")
def _float64_compiled_fast() -> Iterator[None]:
    """Unoptimised code: here the time goes to compiling, not to running."""
    options = compiler_options() | {"xla_backend_optimization_level": 0}
    with jax.enable_x64(True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "compiler_options", lambda: options)
        yield


@functools.cache
def trained_by_gradient() -> "Ours":
    """A rate of 1 without momentum, so that what a parameter loses is its gradient."""
    return Ours(make_twins(), optimizer_section("sgd", 1.0), get_loss("mse", 2.0))


def optimizer_section(name: str, learning_rate: float) -> Any:
    section = get_defaults().optimizer
    section.name, section.learning_rate, section.momentum = name, learning_rate, 0.0
    return section


def make_twins() -> Twins:
    """A generator and a discriminator in PyTorch: random weights, float64, training mode."""
    generator = create_twin("srresnet", scale=2, n_resblocks=1, n_feats=4)
    discriminator = create_twin("srgan_discriminator", n_feats=2, image_size=SIZE)
    randomise(generator, seed=1)
    randomise(discriminator, seed=2)
    return generator.double().train(), discriminator.double().train()


def make_batch(seed: int, rows: int = BATCH) -> Batch:
    rng = np.random.default_rng(seed)
    shapes = {"lr": (rows, SIZE // 2, SIZE // 2, 3), "hr": (rows, SIZE, SIZE, 3)}
    return {name: jnp.asarray(rng.random(shape)) for name, shape in shapes.items()}


class Ours:
    """The two networks here, with the weights of the twins, and their compiled update."""

    def __init__(
        self,
        twins: Twins,
        optimizer: Any,
        loss: Loss,
        *,
        weight: float = WEIGHT,
        ema_decay: float = 0.0,
        **options: Any,
    ) -> None:
        pairs = [from_torch(numpy_state(twin)) for twin in twins]
        self.models = [model for model, _ in pairs]
        self.section = optimizer
        self.optimizer, self.schedule = read_optimizer(optimizer), read_schedule(optimizer)
        self.mesh = make_mesh(BATCH)
        generator, discriminator = (
            create_state(
                model,
                self.optimizer,
                self.mesh,
                seed=0,
                ema=ema,
                start_from=flax.traverse_util.flatten_dict(variables, sep="/"),
                dtype=jnp.float64,
            )
            for (model, variables), ema in zip(pairs, (ema_decay > 0, False), strict=True)
        )
        self.state = AdversarialState(generator, discriminator)
        step = make_adversarial_step(
            *self.models,
            self.optimizer,
            self.schedule,
            weight=weight,
            dtype=jnp.float64,
            ema_decay=ema_decay,
            **options,
        )
        self.step = compile_step(step, self.mesh, loss)

    def run(
        self, batch: Batch, state: AdversarialState | None = None
    ) -> tuple[AdversarialState, Metrics]:
        """One update, by default of the first state, which stays usable."""
        return self.step(jax.tree.map(jnp.copy, state or self.state), batch)


class Reference:
    """The update in PyTorch: both gradients at the old parameters, one forward pass of G."""

    def __init__(self, twins: Twins, content_loss: TorchLoss, weight: float = WEIGHT) -> None:
        self.generator, self.discriminator = twins
        self.content_loss, self.weight = content_loss, weight

    def gradients(self, batch: Batch) -> tuple[tuple[Any, Any], dict[str, float]]:
        """The gradients of both networks, in the order of their parameters, and the metrics."""
        bce = torch.nn.functional.binary_cross_entropy_with_logits
        lr, hr = (
            torch.from_numpy(np.array(batch[name]).transpose(0, 3, 1, 2)) for name in ("lr", "hr")
        )
        fake = self.generator(lr)
        content = self.content_loss(fake, hr)
        with statistics_held(self.discriminator):
            logits = self.discriminator(fake)
        adversarial = bce(logits, torch.ones_like(logits))
        loss = content + self.weight * adversarial
        grads_g = torch.autograd.grad(loss, list(self.generator.parameters()))

        on_real = self.discriminator(hr)
        on_fake = self.discriminator(fake.detach())
        loss_d = bce(on_real, torch.ones_like(on_real)) + bce(on_fake, torch.zeros_like(on_fake))
        grads_d = torch.autograd.grad(loss_d, list(self.discriminator.parameters()))
        right = torch.cat([on_real.sigmoid() > 0.5, on_fake.sigmoid() < 0.5])
        return (grads_g, grads_d), {
            "loss": loss.item(),
            "content_loss": content.item(),
            "adversarial_loss": adversarial.item(),
            "psnr": -10 * (fake.clip(0, 1) - hr).square().mean().log10().item(),
            "discriminator_loss": loss_d.item(),
            "discriminator_accuracy": right.double().mean().item(),
            "gradient_norm": norm(grads_g),
            "discriminator_gradient_norm": norm(grads_d),
        }


@contextlib.contextmanager
def statistics_held(twin: Any) -> Iterator[None]:
    """Batch normalisation by the batch, whose statistics do not enter the running ones."""
    norms = [module for module in twin.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in norms:
        module.momentum = 0.0
    yield
    for module in norms:
        module.momentum = 0.1


def norm(tensors: Iterable[Any]) -> float:
    return float(np.sqrt(sum(tensor.square().sum().item() for tensor in tensors)))


def torch_mse(prediction: Any, target: Any) -> Any:
    return torch.nn.functional.mse_loss(2 * prediction - 1, 2 * target - 1)


def vgg_loss(folder: Path) -> tuple[Loss, TorchLoss]:
    """SRGAN's content loss with a VGG-16 of random weights: ours, from a file, and theirs."""
    vgg = create_twin("vgg16", tap=8)  # the activation of conv2_2
    randomise(vgg, seed=3)
    weights.save(folder / "vgg16.safetensors", *from_torch(numpy_state(vgg)))
    vgg = vgg.double()

    def content_loss(prediction: Any, target: Any) -> Any:
        return (vgg(prediction) - vgg(target)).square().mean() * (1 / 12.75) ** 2

    return feature_loss("vgg22", 1 / 12.75, folder / "vgg16.safetensors"), content_loss


def check_same(ours: Arrays, theirs: Arrays, what: str, tolerance: float = 1e-8) -> None:
    """Dicts of arrays by PyTorch's names. Float64 on both sides, sums in another order."""
    assert ours.keys() == theirs.keys()
    for name, expected in theirs.items():
        error = np.linalg.norm(ours[name] - expected) / np.linalg.norm(expected)
        assert error < tolerance, f"{what} {name}: {error:.1e}"


def split_state(state: Arrays) -> tuple[Arrays, Arrays]:
    """(parameters, running statistics) of a state dict."""
    statistics = {k: v for k, v in state.items() if "running_" in k}
    parameters = {k: v for k, v in state.items() if k not in statistics and "tracked" not in k}
    return parameters, statistics


def check_metrics(metrics: Metrics, expected: dict[str, float], weight: float) -> None:
    for name, value in expected.items():
        assert float(metrics[name]) == pytest.approx(value, rel=1e-10), name
    assert 0 < expected["discriminator_accuracy"] < 1
    share = weight * expected["adversarial_loss"] / expected["loss"]
    assert 0.01 < share < 0.99  # both terms show


def test_gradients_statistics_and_metrics_equal_pytorch() -> None:
    twins = make_twins()
    ours = trained_by_gradient()
    before = [{k: v.copy() for k, v in numpy_state(twin).items()} for twin in twins]
    batch = make_batch(0)
    state, metrics = ours.run(batch)
    grads, expected = Reference(twins, torch_mse).gradients(batch)

    check_metrics(metrics, expected, WEIGHT)
    assert float(metrics["learning_rate"]) == 1
    new = (state.generator, state.discriminator)
    for model, after, old, twin, grad in zip(ours.models, new, before, twins, grads, strict=True):
        what = type(model).__name__
        tensors = to_torch(model, {"params": after.params, **after.rest})
        parameters, statistics = split_state(tensors)
        check_same(
            {name: old[name] - value for name, value in parameters.items()},
            {name: g.numpy() for (name, _), g in zip(twin.named_parameters(), grad, strict=True)},
            what,
        )
        # The twin's statistics have moved by now; of the discriminator photographs came first.
        moved = split_state(numpy_state(twin))[1]
        check_same(statistics, moved, what)
        assert not any(np.allclose(moved[name], old[name], rtol=1e-3) for name in moved)


def test_two_updates_by_adam_equal_pytorch(tmp_path: Path) -> None:
    """With the recipe's content loss. The second update needs all that the first one leaves.

    Of the generator alone there is an average, and the state that a step was given is gone: its
    memory serves the new one.
    """
    rate, weight = 1e-3, 0.01
    twins = make_twins()
    loss, torch_loss = vgg_loss(tmp_path)
    ours = Ours(twins, optimizer_section("adam", rate), loss, weight=weight, ema_decay=0.9)
    reference = Reference(twins, torch_loss, weight)
    # Our rate is a float32.
    optimizers = [torch.optim.Adam(twin.parameters(), float(np.float32(rate))) for twin in twins]
    before = [{k: v.copy() for k, v in numpy_state(twin).items()} for twin in twins]
    state = ours.state
    for seed, decay in ((0, 1 / 10), (1, 2 / 11)):
        average = state.generator.ema
        given = jax.tree.map(jnp.copy, state)
        state, metrics = ours.step(given, make_batch(seed))
        grads, expected = reference.gradients(make_batch(seed))
        check_metrics(metrics, expected, weight)
        average = jax.tree.map(
            lambda a, b, decay=decay: decay * a + (1 - decay) * b, average, state.generator.params
        )
        assert_close(state.generator.ema, average)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(given))
        for twin, optimizer, grad in zip(twins, optimizers, grads, strict=True):
            for parameter, value in zip(twin.parameters(), grad, strict=True):
                parameter.grad = value
            optimizer.step()
    assert int(state.step) == int(state.discriminator.step) == 2
    assert state.variables()["params"] is state.generator.ema
    assert state.discriminator.ema is None
    new = (state.generator, state.discriminator)
    for model, after, old, twin in zip(ours.models, new, before, twins, strict=True):
        what = type(model).__name__
        tensors = to_torch(model, {"params": after.params, **after.rest})
        ours_moved, ours_statistics = split_state(tensors)
        moved, statistics = split_state(numpy_state(twin))
        check_same(ours_statistics, statistics, what)
        # Adam divides by the size of a gradient, and so lifts rounding where that is almost 0.
        check_same(
            {name: value - old[name] for name, value in ours_moved.items()},
            {name: value - old[name] for name, value in moved.items()},
            what,
            tolerance=1e-6,
        )


def test_accumulation_averages_the_parts() -> None:
    """Gradients and metrics are those of the halves, statistics pass from one to the next."""
    halves = trained_by_gradient()
    accumulated = Ours(make_twins(), halves.section, get_loss("mse", 2.0), accumulate=2)
    batch, old = make_batch(0, rows=2 * BATCH), halves.state
    state, metrics = accumulated.run(batch)
    first, metrics_0 = halves.run({k: v[0::2] for k, v in batch.items()})
    between = AdversarialState(
        dataclasses.replace(old.generator, rest=first.generator.rest),
        dataclasses.replace(old.discriminator, rest=first.discriminator.rest),
    )
    second, metrics_1 = halves.run({k: v[1::2] for k, v in batch.items()}, between)
    for part in (metrics, metrics_0, metrics_1):  # of the mean error, not a mean of decibels
        part["error"] = 10 ** (-0.1 * part.pop("psnr"))
    for name in ("loss", "content_loss", "adversarial_loss", "discriminator_loss", "error"):
        mean = (float(metrics_0[name]) + float(metrics_1[name])) / 2
        assert float(metrics[name]) == pytest.approx(mean, rel=1e-10), name
    for network in ("generator", "discriminator"):
        result, one, two = (getattr(s, network) for s in (state, first, second))
        means = jax.tree.map(lambda a, b: (a + b) / 2, one.params, two.params)
        assert_close(result.params, means)
        assert_close(result.rest, two.rest)


def assert_close(ours: Any, expected: Any) -> None:
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12), ours, expected
    )
