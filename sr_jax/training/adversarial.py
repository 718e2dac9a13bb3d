"""Training a network against a discriminator: Ledig et al., "Photo-Realistic Single Image
Super-Resolution Using a Generative Adversarial Network" (CVPR 2017, arXiv 1609.04802)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from sr_jax.models.network import Network
from sr_jax.ops.devices import mean_over_devices
from sr_jax.training.losses import Loss, clipped_mse, decibels
from sr_jax.training.state import AdversarialState
from sr_jax.training.steps import Batch, Metrics, apply_gradients, apply_network, over_microbatches


def make_adversarial_step(
    generator: Network,
    discriminator: Network,
    optimizer: optax.GradientTransformationExtraArgs,
    schedule: optax.Schedule,
    *,
    weight: float,
    dtype: Any = jnp.float32,
    accumulate: int = 0,
    ema_decay: float = 0.0,
    remat: bool = False,
) -> Callable[[AdversarialState, Batch, Loss], tuple[AdversarialState, Metrics]]:
    """Builds one update of both networks, not yet compiled: see `steps.compile_step`.

    The generator minimises content loss + weight * -log D(G(lr)) (equations 3 and 6), the
    discriminator -log D(hr) - log(1 - D(G(lr))) (equation 2), each by an optimiser of its own.
    Both gradients are taken at the networks as they were before the step, and G(lr) is computed
    once, as in the common PyTorch ports.

    Batch normalisation, of which the paper says nothing, follows those ports too: both networks
    are in training mode; the discriminator sees photographs and generated images as two batches,
    each with its own statistics, which update the running ones in that order. Judging the
    generator leaves the discriminator's running statistics alone.

    Args:
        generator: the network that upscales.
        discriminator: takes its output, returns logits (N, 1) of "a photograph".
        optimizer: of both networks; each has a state of its own.
        schedule: the learning rate of both.
        weight: of the adversarial term; the paper has 1e-3.
        dtype, accumulate, ema_decay, remat: see `steps.make_train_step`; the average is the
            generator's, and a batch is one part if `accumulate` is 0.

    Returns:
        A function (state, {'lr', 'hr'}, content loss) -> (state, metrics). Metrics are scalars:
        `loss` of the generator and its terms `content_loss` and `adversarial_loss` (without the
        weight); `discriminator_loss`; `discriminator_accuracy`, the share of photographs and of
        generated images that it tells rightly; `psnr`, `learning_rate`, `gradient_norm` and
        `parameter_norm` of the generator, and the last two of the discriminator.
    """

    def step(
        state: AdversarialState, batch: Batch, content_loss: Loss
    ) -> tuple[AdversarialState, Metrics]:
        old_g, old_d = state.generator, state.discriminator

        def generate(params: Any, rest: Any, rest_d: Any, batch: Batch) -> tuple[jax.Array, Any]:
            fake, rest = apply_network(generator, params, rest, batch["lr"], dtype, None, remat)
            logits, _ = apply_network(discriminator, old_d.params, rest_d, fake, dtype, None, remat)
            terms = {
                "content_loss": content_loss(fake, batch["hr"]),
                "adversarial_loss": jnp.mean(jax.nn.softplus(-logits)),  # -log sigmoid(logits)
                "psnr": clipped_mse(fake, batch["hr"]),
            }
            value = terms["content_loss"] + weight * terms["adversarial_loss"]
            return value, (rest, fake, terms)

        def discriminate(
            params: Any, rest: Any, real: jax.Array, fake: jax.Array
        ) -> tuple[jax.Array, Any]:
            on_real, rest = apply_network(discriminator, params, rest, real, dtype, None, remat)
            on_fake, rest = apply_network(discriminator, params, rest, fake, dtype, None, remat)
            value = jnp.mean(jax.nn.softplus(-on_real)) + jnp.mean(jax.nn.softplus(on_fake))
            return value, (rest, 0.5 * (jnp.mean(on_real > 0) + jnp.mean(on_fake < 0)))

        def gradients(rest: Any, batch: Batch) -> tuple[Any, Any]:
            rest_g, rest_d = rest
            (value_g, (rest_g, fake, terms)), grads_g = jax.value_and_grad(generate, has_aux=True)(
                old_g.params, rest_g, rest_d, batch
            )
            (value_d, (rest_d, accuracy)), grads_d = jax.value_and_grad(discriminate, has_aux=True)(
                old_d.params, rest_d, batch["hr"], fake
            )
            metrics = {
                "loss": value_g,
                **terms,
                "discriminator_loss": value_d,
                "discriminator_accuracy": accuracy,
            }
            return (rest_g, rest_d), (metrics, grads_g, grads_d)

        rests, averages = over_microbatches(
            gradients, (old_g.rest, old_d.rest), batch, accumulate or 1
        )
        metrics, grads_g, grads_d = mean_over_devices(averages)
        metrics["psnr"] = decibels(metrics["psnr"])
        rate = schedule(old_g.step)
        new_g = apply_gradients(old_g, old_g.params, grads_g, optimizer, rate, rests[0], ema_decay)
        new_d = apply_gradients(old_d, old_d.params, grads_d, optimizer, rate, rests[1], 0.0)
        return AdversarialState(new_g, new_d), metrics | {
            "learning_rate": rate,
            "gradient_norm": optax.tree.norm(grads_g),
            "parameter_norm": optax.tree.norm(new_g.params),
            "discriminator_gradient_norm": optax.tree.norm(grads_d),
            "discriminator_parameter_norm": optax.tree.norm(new_d.params),
        }

    return step
