"""What is predicted of memory, against what the compiler says and what the machine has."""

import jax
import jax.numpy as jnp
import psutil
import pytest

from sr_jax.inference import cost
from sr_jax.inference.cost import check_tile, host_memory, largest_tile, predict_memory
from sr_jax.inference.program import jitted
from sr_jax.inference.settings import Settings

NETWORKS = [
    ("srcnn_915", {}, 2),
    ("edsr_baseline", {"n_resblocks": 2, "n_feats": 16}, 2),
    ("rcan", {"n_resgroups": 2, "n_resblocks": 1}, 2),
    ("san", {"n_resgroups": 1, "n_resblocks": 1}, 2),
    ("csnln", {"depth": 2, "n_feats": 16, "scale": 3}, 3),
]


@pytest.mark.parametrize(("name", "hyperparameters", "scale"), NETWORKS)
def test_prediction_is_what_the_compiler_says(network, name, hyperparameters, scale):
    """Memory grows with the pixels, also of attention in blocks: within 10 %."""
    tile = (270, 600)
    model, variables = network(name, **hyperparameters)
    images = jax.ShapeDtypeStruct((2, *tile, model.n_colors), jnp.float32)
    program = jitted(model, scale, "float32", 1).lower(variables, images).compile()
    analysis = program.memory_analysis()
    needed = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    needed += analysis.temp_size_in_bytes
    predicted = predict_memory(model, variables, tile, scale, Settings(batch=2))
    assert predicted == pytest.approx(needed, rel=0.1)


def test_the_largest_tile_is_what_memory_holds(network, memory, monkeypatch):
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=8)

    def largest(**options):
        return largest_tile(model, variables, 2, Settings(**options))

    memory(predict_memory(model, variables, (100, 100), 2))
    side, pixels, reason = largest()
    assert (side, reason) == (96, "a square of 96 is the largest in a test")
    assert pixels == pytest.approx(100 * 100, abs=1)
    # However much there is, arrays stay below 2**31 values.
    memory(2**50)
    monkeypatch.setattr(cost, "CPU_SCRATCH", 1)
    side, _, reason = largest()
    assert "16 GiB, what 32-bit indices reach" in reason
    assert predict_memory(model, variables, (side, side), 2) <= 2**34
    memory(predict_memory(model, variables, (31, 31), 2))
    with pytest.raises(ValueError, match="not enough memory: a tile of 32 pixels a side takes"):
        largest()


def test_nothing_is_more_than_convolutions_can_take(network, memory, monkeypatch):
    """XLA:CPU asks for scratch space beyond the compiler's figures, and ends the process."""
    model, variables = network("edsr_baseline", n_resblocks=1, n_feats=8)
    memory(2**40)
    ram = psutil.virtual_memory().total
    monkeypatch.setattr(cost, "CPU_SCRATCH", ram // (100 * 100 * 2**2))
    side, _, reason = largest_tile(model, variables, 2, Settings())
    assert side == 96
    assert "what XLA:CPU's convolutions can take" in reason
    assert largest_tile(model, variables, 2, Settings(batch=4))[0] == 32
    check_tile(model, (100, 100), 2, Settings())
    with pytest.raises(ValueError, match=r"101 x 101 pixels at once .* a tile of at most 96"):
        check_tile(model, (101, 101), 2, Settings())


def test_arrays_on_the_host_are_at_least_image_and_result(network):
    model, _ = network("edsr_baseline", n_resblocks=1, n_feats=8)
    double = Settings(dtype="float64")
    assert host_memory(model, 90, 100, 2, Settings()) > (90 * 100 + 180 * 200) * 3 * 4
    assert host_memory(model, 90, 100, 2, double) > (90 * 100 + 180 * 200) * 3 * 8
