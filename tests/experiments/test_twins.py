"""The PyTorch twins against the goldens, and the JAX networks against the twins."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sr_jax.interop.torch import from_torch
from sr_jax.models import forward

torch = pytest.importorskip("torch")

from experiments.twins import (  # noqa: E402, they import torch
    attention,
    create_twin,
)
from experiments.twins.weights import (  # noqa: E402
    numpy_state,
    randomise,
    to_nhwc,
)

slow = pytest.mark.slow


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For operations so small that threads would only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def relative_error(actual: Any, expected: Any) -> float:
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def load_golden(twin: Any, state_dict: dict[str, np.ndarray]) -> Any:
    tensors = {name: torch.from_numpy(np.asarray(value)) for name, value in state_dict.items()}
    twin.load_state_dict(tensors, strict=True)
    return twin.double().eval()


GOLDENS = [
    ("srcnn_915_y", "srcnn_915", {}),
    ("vdsr_y_bias", "vdsr", {}),
    ("vdsr_y_nobias", "vdsr_nobias", {}),
    ("srresnet_x4", "srresnet", {}),
    ("srgan_disc", "srgan_discriminator", {}),
    ("edsr_baseline_x2", "edsr_baseline", {}),
    pytest.param("edsr_full_x4", "edsr", {"scale": 4}, marks=slow),
    pytest.param("mdsr_full_x2", "mdsr", {}, marks=slow),
    pytest.param("rcan_x4", "rcan", {"scale": 4}, marks=slow),
    pytest.param("san_x4", "san", {"scale": 4}, marks=slow),
    pytest.param("csnln_x2", "csnln", {}, marks=slow),
]


@pytest.mark.parametrize(("case", "name", "hyperparameters"), GOLDENS)
def test_golden(golden: Any, case: str, name: str, hyperparameters: dict[str, Any]) -> None:
    """Output and gradients equal the reference code's to the rounding of the stored float32."""
    arrays, meta, state_dict = golden(case)
    twin = load_golden(create_twin(name, **hyperparameters), state_dict)
    assert list(twin.state_dict()) == list(state_dict)
    images = torch.from_numpy(arrays["input"]).double().requires_grad_()
    output = twin(images, 2) if name == "mdsr" else twin(images)
    assert relative_error(output.detach(), arrays["output"]) < 2e-7
    (output - torch.from_numpy(arrays["target"])).abs().mean().backward()
    assert relative_error(images.grad, arrays["grad_input"]) < 2e-7
    first = twin.get_parameter(meta["grad_first_conv_name"])
    assert relative_error(first.grad, arrays["grad_first_conv"]) < 2e-7


def test_golden_of_training_mode(golden: Any) -> None:
    """SRResNet with batch statistics, and the running statistics after one pass."""
    arrays, meta, state_dict = golden("srresnet_x4")
    twin = load_golden(create_twin("srresnet"), state_dict).train()
    with torch.no_grad():
        output = twin(torch.from_numpy(arrays["input"]).double())
    assert relative_error(output, arrays["train_output"]) < 2e-7
    for index, name in enumerate(meta["train_running_stats_after_one_forward"]):
        assert relative_error(twin.state_dict()[name], arrays[f"train_stat_{index}"]) < 2e-7


@pytest.mark.parametrize(
    ("name", "hyperparameters", "expected"),
    [
        ("srcnn_955", {}, 57_281),
        ("vdsr", {}, 665_921),
        ("srresnet", {"scale": 4}, 1_547_350),
        ("srgan_discriminator", {}, 23_563_649),
        ("edsr", {"scale": 2}, 40_729_603),
        ("mdsr", {}, 7_953_987),
        ("rcan", {"scale": 3}, 15_629_283),
        ("san", {"scale": 2}, 15_712_776),
        ("csnln", {"scale": 2}, 3_061_265),
    ],
)
def test_parameter_count(name: str, hyperparameters: dict[str, Any], expected: int) -> None:
    """Those of the papers' sizes that are trained: mean shifts are not."""
    with torch.device("meta"):  # shapes only
        twin = create_twin(name, **hyperparameters)
    assert sum(p.numel() for p in twin.parameters() if p.requires_grad) == expected


def test_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown architecture 'esrgan'.*srcnn_915"):
        create_twin("esrgan")


SMALL = {"n_resblocks": 2, "n_feats": 16}
GROUPS = {"n_resgroups": 2, "n_resblocks": 2}

# Name, hyper-parameters of the twin, (H, W), scale given to the call.
QUICK: list[tuple[str, dict[str, Any], tuple[int, int], int | None]] = [
    ("srcnn_915", {}, (13, 10), None),
    ("vdsr", {"depth": 4, "n_colors": 3, "rgb_range": 255.0}, (9, 12), None),
    ("srresnet", {**SMALL, "scale": 3}, (7, 9), None),
    ("srgan_discriminator", {"n_feats": 8, "image_size": 32}, (32, 32), None),
    ("edsr", {**SMALL, "scale": 4, "res_scale": 1.0}, (7, 10), None),
    ("mdsr", SMALL, (7, 6), 3),
    ("rcan", {**GROUPS, "n_feats": 32, "scale": 2}, (7, 9), None),
]
THOROUGH = [
    ("srcnn_915", {"n_colors": 3}, (13, 10), None),
    ("srcnn_935", {}, (9, 14), None),
    ("vdsr_nobias", {"depth": 5}, (12, 9), None),
    *(("srresnet", {**SMALL, "scale": scale}, (7, 9), None) for scale in (2, 4, 8)),
    *(("edsr", {**SMALL, "scale": s, "res_scale": 1.0}, (7, 10), None) for s in (2, 3)),
    ("edsr", {"n_resblocks": 1, "scale": 2}, (5, 7), None),
    ("edsr_baseline", {"n_resblocks": 2, "scale": 4}, (5, 6), None),
    *(("mdsr", SMALL, (7, 6), scale) for scale in (2, 4)),
    ("mdsr_baseline", {"n_resblocks": 1}, (5, 5), 3),
    *(("rcan", {**GROUPS, "scale": scale}, (7, 9), None) for scale in (3, 4, 8)),
    ("rcan", {"n_resgroups": 3, "n_resblocks": 1, "scale": 2}, (5, 6), None),
    *(("san", {**GROUPS, "scale": scale}, (13, 10), None) for scale in (2, 3, 4, 8)),
    ("san", {"n_resgroups": 1, "n_resblocks": 3, "n_feats": 32, "scale": 2}, (4, 5), None),
    ("csnln", {"depth": 1, "scale": 2}, (6, 8), None),
    ("csnln", {"depth": 3, "scale": 2}, (8, 6), None),
    ("csnln", {"depth": 2, "scale": 3}, (9, 6), None),
    ("csnln", {"depth": 2, "scale": 4}, (6, 4), None),
]


@pytest.mark.parametrize(
    ("name", "hyperparameters", "size", "scale"),
    [*QUICK, *(pytest.param(*case, marks=slow) for case in THOROUGH)],
)
def test_jax_equals_the_twin(
    name: str, hyperparameters: dict[str, Any], size: tuple[int, int], scale: int | None
) -> None:
    """Random weights, reduced depth, a batch of two images."""
    twin = create_twin(name, **hyperparameters)
    randomise(twin, seed=1)
    check_parity(twin, *from_torch(numpy_state(twin)), size, scale)


@slow
@pytest.mark.parametrize(
    ("name", "hyperparameters", "fields"),
    [
        ("san", {**GROUPS, "n_feats": 32}, {"max_scores": 60}),
        ("csnln", {"depth": 2}, {"max_scores": 100, "tile": 4}),
    ],
)
def test_blocked_attention_equals_the_dense_twin(
    name: str, hyperparameters: dict[str, Any], fields: dict[str, int]
) -> None:
    """Bounds so low that the attention takes several blocks, the last ones padded."""
    twin = create_twin(name, **hyperparameters)
    randomise(twin, seed=1)
    check_parity(twin, *from_torch(numpy_state(twin), **fields), (14, 10), None)


@pytest.mark.parametrize(
    ("name", "hyperparameters", "size", "max_scores"),
    [
        ("san", {**GROUPS, "n_feats": 16, "reduction": 4}, (14, 11), 2**22),
        ("san", {**GROUPS, "n_feats": 16, "reduction": 4}, (14, 11), 60),
        ("csnln", {"depth": 2, "n_feats": 16}, (22, 18), 20_000),
        ("csnln", {"depth": 1, "n_feats": 16, "scale": 3}, (9, 18), 2**22),
    ],
)
def test_same_algorithm_equals_the_official_one(
    one_thread: None,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    hyperparameters: dict[str, Any],
    size: tuple[int, int],
    max_scores: int,
) -> None:
    """Output and gradients in float64, the same sums in another order: 1e-10; one block or many."""
    monkeypatch.setattr(attention, "MAX_SCORES", max_scores)
    official = create_twin(name, **hyperparameters)
    randomise(official, seed=1)
    ours = create_twin(name, algorithm="same_algorithm", **hyperparameters)
    ours.load_state_dict(official.state_dict())
    images = np.random.default_rng(2).random((3, 3, *size)) * official.rgb_range
    results = []
    for twin in (official.double(), ours.double()):
        inputs = torch.from_numpy(images).requires_grad_()
        output = twin(inputs)
        output.square().mean().backward()
        gradients = {k: p.grad for k, p in twin.named_parameters() if p.grad is not None}
        with torch.inference_mode():
            assert relative_error(twin(inputs), output.detach()) < 1e-10
        results.append((output.detach(), inputs.grad, gradients))
    (expected, expected_grad, expected_grads), (output, grad, grads) = results
    assert relative_error(output, expected) < 1e-10
    assert relative_error(grad, expected_grad) < 1e-10
    assert grads.keys() == expected_grads.keys()
    total = sum(float(g.square().sum()) for g in expected_grads.values()) ** 0.5
    for key, gradient in grads.items():
        assert float((gradient - expected_grads[key]).norm()) < 1e-10 * total, key


@slow
@pytest.mark.parametrize(
    ("name", "tap", "fields"),
    [
        ("vgg19", 7, {"tap": "conv2_2", "after_relu": False}),
        ("vgg19", 35, {}),
        ("vgg16", 29, {}),
    ],
)
def test_vgg_equals_the_twin(name: str, tap: int, fields: dict[str, Any]) -> None:
    """Taps of SRGAN's VGG22 and VGG54; sides that the poolings round down."""
    twin = create_twin(name, tap=tap)
    randomise(twin, seed=1)
    check_parity(twin, *from_torch(numpy_state(twin), **fields), (18, 21), None)


@pytest.mark.parametrize(
    ("name", "hyperparameters", "size"),
    [
        ("srresnet", {**SMALL, "scale": 2}, (5, 6)),
        pytest.param("srgan_discriminator", {"n_feats": 8, "image_size": 32}, (32, 32), marks=slow),
    ],
)
def test_training_mode_equals_the_twin(
    name: str, hyperparameters: dict[str, Any], size: tuple[int, int]
) -> None:
    """Batch statistics normalise; the running ones, stored in float32, move alike."""
    twin = create_twin(name, **hyperparameters)
    randomise(twin, seed=1)
    model, variables = from_torch(numpy_state(twin))
    images = np.random.default_rng(2).random((2, 3, *size))
    twin = twin.double().train()
    with torch.no_grad():
        output = twin(torch.from_numpy(images))
    _, expected = from_torch(numpy_state(twin))
    with jax.enable_x64(True):
        step = jax.jit(lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]))
        ours, updates = step(variables, to_nhwc(images))
    assert relative_error(ours, to_nhwc(output)) < 1e-10
    pairs = jax.tree.map(relative_error, updates["batch_stats"], expected["batch_stats"])
    assert max(jax.tree.leaves(pairs)) < 1e-6


def check_parity(
    twin: Any, model: Any, variables: Any, size: tuple[int, int], scale: int | None
) -> None:
    """Output and gradients of an L1 loss by the images and by all parameters, in float64.

    Both sides sum the same products in another order: 1e-10 of the norm. PyTorch's gradients by
    parameters are rounded to float32 by `from_torch`: 1e-7 of each, and 1e-9 of all together where
    one is zero but for rounding (SAN's phi bias, dead parameters).
    """
    white = twin.rgb_range
    images = np.random.default_rng(2).random((2, model.n_colors, *size))
    twin = twin.double().eval()
    theirs = torch.from_numpy(images * white).requires_grad_()
    output = (twin(theirs) if scale is None else twin(theirs, scale)) / white
    target = np.random.default_rng(3).standard_normal(output.shape)
    (output - torch.from_numpy(target)).abs().mean().backward()

    with jax.enable_x64(True):

        def loss(images: jax.Array, params: Any) -> tuple[jax.Array, jax.Array]:
            predicted = forward(model, {**variables, "params": params}, images, scale=scale)
            return jnp.abs(predicted - to_nhwc(target)).mean(), predicted

        # As float32 they would have their gradient summed in float32 over the uses of a parameter.
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), variables["params"])
        (grad_images, grad_params), predicted = jax.grad(loss, argnums=(0, 1), has_aux=True)(
            jnp.asarray(to_nhwc(images)), params
        )
    assert predicted.dtype == np.float64
    assert relative_error(predicted, to_nhwc(output.detach())) < 1e-10
    assert relative_error(grad_images, to_nhwc(theirs.grad * white)) < 1e-10

    state = numpy_state(twin)
    for name, parameter in twin.named_parameters():
        if parameter.requires_grad:  # the mean shift stays, `from_torch` recognises the range by it
            unused = parameter.grad is None
            state[name] = np.zeros(parameter.shape) if unused else parameter.grad.numpy()
    _, expected = from_torch(state)
    leaves = jax.tree.leaves_with_path(expected["params"])
    total = np.sqrt(sum(np.sum(np.square(leaf, dtype=np.float64)) for _, leaf in leaves))
    for (path, leaf), gradient in zip(leaves, jax.tree.leaves(grad_params), strict=True):
        error = np.linalg.norm(np.asarray(gradient) - leaf)
        bound = 1e-7 * np.linalg.norm(leaf) + 1e-9 * total
        assert error <= bound, f"{jax.tree_util.keystr(path)}: {error:.2e} > {bound:.2e}"
