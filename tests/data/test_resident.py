"""Images on the devices: what is cut there is what the host cuts, bit for bit."""

import functools
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from sr_jax.data import resident
from sr_jax.data.patches import PatchSampler, network_images, network_pair
from sr_jax.data.sources import ImagePair
from sr_jax.mesh import make_mesh


def photos(scales: tuple[int, ...], lr_scale: int | None = None) -> list[ImagePair]:
    """Of five sizes, no side a multiple of all scales; one scale may bring LR images."""
    rng = np.random.default_rng(0)
    images = []
    for i in range(5):
        hr = rng.integers(0, 256, (49 + 7 * i, 71 - 5 * i, 3), np.uint8)
        readers = {}
        if lr_scale:
            sides = hr.shape[0] // lr_scale, hr.shape[1] // lr_scale
            lr = rng.integers(0, 256, (*sides, 3), np.uint8)
            readers = {lr_scale: lambda lr=lr: lr}
        images.append(ImagePair(f"image{i}", scales, lambda hr=hr: hr, readers))
    return images


def cut_batches(sampler: PatchSampler, start: int, stop: int) -> list[Any]:
    """The batches that a step would get, cut by a compiled program."""
    mesh = make_mesh(sampler.batch_size)
    images = resident.place(sampler, mesh, "device")
    assert images is not None

    def keep_batch(state: Any, batch: Any, loss: Any) -> Any:
        return state, batch

    @functools.partial(jax.jit, static_argnums=2)
    def cut(step: jax.Array, data: Any, factor: int) -> Any:
        cut_in_step = resident.cut_in_step(keep_batch, sampler.patch_size, factor)
        return cut_in_step(SimpleNamespace(step=step), data, None)[1]

    found = []
    for step, data in enumerate(resident.batches(sampler, images, mesh, start, stop), start):
        factor = 1 if sampler.interpolated else sampler.scale(step)
        found.append(jax.device_get(cut(np.int32(step), data, factor)))
    return found


@pytest.mark.parametrize(
    ("scales", "fields"),
    [
        ((3,), {}),
        ((2, 3, 4), {}),
        ((2, 3), {"n_colors": 1}),
        ((2, 3, 4), {"n_colors": 1, "interpolated": True}),
        ((2,), {"interpolated": True}),
    ],
    ids=["RGB", "one scale a step", "luma", "interpolated luma", "interpolated RGB"],
)
def test_batches_are_those_of_the_host(scales, fields):
    """All 8 symmetries occur, and the steps lie in two chunks of the plan."""
    sampler = PatchSampler(photos(scales, lr_scale=scales[0]), scales, 7, 6, seed=3, **fields)
    for step, batch in enumerate(cut_batches(sampler, 250, 250 + resident.CHUNK + 9), 250):
        inputs, targets = sampler.rows(step, 0, 6)
        assert batch["lr"].dtype == batch["hr"].dtype == np.float32
        np.testing.assert_array_equal(batch["lr"], inputs)
        np.testing.assert_array_equal(batch["hr"], targets)


def test_every_byte_becomes_the_float_of_the_host():
    """256 values, each divided by 255 in float32."""
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    image = ImagePair(
        "a", (2,), lambda: grey.repeat(2, axis=0).repeat(2, axis=1), {2: lambda: grey}
    )
    (batch,) = cut_batches(PatchSampler([image], (2,), 16, 1, seed=0), 0, 1)
    expected = np.arange(256).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(np.sort(batch["lr"][..., 0].ravel()), expected)


@pytest.mark.parametrize(
    "fields", [{}, {"n_colors": 1}, {"n_colors": 1, "interpolated": True}, {"interpolated": True}]
)
def test_one_target_serves_all_scales_and_is_read_once(fields):
    (image, *_) = photos((2, 3, 4), lr_scale=3)
    reads = []
    counted = ImagePair(
        image.name, image.scales, lambda: reads.append(1) or image.read_hr(), image.read_lr
    )
    inputs, whole = network_images(counted, image.scales, **fields)
    assert len(reads) == 1
    for scale, actual in zip(image.scales, inputs, strict=True):
        expected, target = network_pair(image, scale, **fields)
        np.testing.assert_array_equal(actual, expected)
        np.testing.assert_array_equal(whole[: target.shape[0], : target.shape[1]], target)


def test_processes_draw_their_own_rows():
    sampler = PatchSampler(photos((2,)), (2,), 7, 6, seed=3)
    images = resident.place(sampler, make_mesh(6), "device")

    def plan(rows: range) -> np.ndarray:
        return images.plan(sampler, np.full(len(rows), 4), np.array(rows))

    whole, parts = plan(range(6)), [plan(range(start, start + 2)) for start in (0, 2, 4)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_host_is_chosen_on_a_cpu():
    sampler = PatchSampler(photos((2,)), (2,), 7, 6, seed=3)
    assert resident.place(sampler, make_mesh(6), "host") is None
    assert resident.place(sampler, make_mesh(6), "auto") is None


@pytest.fixture
def small_device(monkeypatch):
    """An accelerator of so many bytes, as JAX shows it; the arrays go to the CPU."""

    def pretend(size: int) -> None:
        device = SimpleNamespace(memory_stats=lambda: {"bytes_limit": size})
        monkeypatch.setattr(resident.jax, "local_devices", lambda: [device])
        monkeypatch.setattr(resident.jax, "default_backend", lambda: "cuda")

    return pretend


def test_images_go_to_a_device_that_has_room(small_device):
    sampler = PatchSampler(photos((2,)), (2,), 7, 6, seed=3)
    size = sum(image.hr().nbytes + image.lr(2).nbytes for image in sampler.images)
    mesh = make_mesh(6)
    small_device(4 * size)
    assert resident.place(sampler, mesh, "auto") is not None
    small_device(4 * size - 4)
    assert resident.place(sampler, mesh, "auto") is None
    assert resident.place(sampler, mesh, "device") is not None
    small_device(size // 2)
    with pytest.raises(ValueError, match=r"^data.placement is device, but .* set it to host$"):
        resident.place(sampler, mesh, "device")


def test_unreadable_and_small_images_are_named_as_on_the_host():
    def broken() -> np.ndarray:
        raise ValueError("cannot read image a.png: truncated")

    sampler = PatchSampler([ImagePair("a", (2,), broken)], (2,), 7, 1, seed=0)
    with pytest.raises(ValueError, match=r"^none of the .*: cannot read image a.png: truncated$"):
        resident.place(sampler, make_mesh(1), "device")
    sampler = PatchSampler(photos((2,)), (2,), 30, 5, seed=0)
    with pytest.raises(ValueError, match=r"smaller than data.lr_patch_size 30") as on_host:
        sampler.rows(0, 0, 5)
    with pytest.raises(ValueError, match=r"smaller than data.lr_patch_size 30") as on_device:
        cut_batches(sampler, 0, 1)
    assert str(on_device.value) == str(on_host.value)
