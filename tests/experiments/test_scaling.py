"""What experiments/scaling reads from a compiled program, and what it predicts from that."""

import pytest

from experiments.scaling.measure import communication
from experiments.scaling.prediction import images_per_second, page

PROGRAM = """
HloModule step

%sum (a: f32[], b: f32[]) -> f32[] {
  ROOT %add = f32[] add(%a, %b)
}

%body (carry: (f32[3])) -> (f32[3]) {
  %inner = f32[3]{0} all-reduce(%x), to_apply=%sum
}

ENTRY %main (x: f32[10,2]) -> f32[10,2] {
  %both = (f32[10,2]{1,0}, bf16[]) all-reduce(%x, %y), to_apply=%sum
  %loop = (f32[3]) while(%init), condition=%c, body=%body%TRIPS%
  %moved = f32[5]{0} collective-permute(%z)
}
"""
TRIPS = ', backend_config={"known_trip_count":{"n":"4"}}'


def test_communication_counts_loops_and_other_collectives():
    found = communication(PROGRAM.replace("%TRIPS%", TRIPS))
    assert found == {"bytes": 4 * 20 + 2 + 4 * (4 * 3), "calls": 1 + 4, "other_bytes": 4 * 5}


def test_a_loop_of_unknown_length_is_refused():
    with pytest.raises(ValueError, match="unknown length"):
        communication(PROGRAM.replace("%TRIPS%", ""))


def test_prediction_follows_the_formula():
    # 2 (n - 1) / n * B / L + 2 (n - 1) * K * l = 1.5 * 2 / 1 + 6 * 5 * 0.1 = 6 seconds
    found = images_per_second(4, 10, 2.0, 2.0, 1.0, latency=0.1, calls=5)
    assert found.hidden == pytest.approx(4 * 10 / 6)
    assert found.waiting == pytest.approx(4 * 10 / 8)
    assert images_per_second(1, 10, 2.0, 2.0, 1.0, latency=0.1, calls=5) == (5.0, 5.0)


def test_page_has_every_network_and_times_only_those_measured():
    def row(model: str, batch: int, **ours: float) -> dict:
        size = {"model": model, "task": "train", "dtype": "float32", "batch": batch}
        return size | {"ours": ours, "flops": {"ours": 197e12 * batch}}

    rows = [row("vdsr", 1, median=0.5), row("vdsr", 16, median=4.0), row("edsr", 16)]
    throughput = {"conditions": {"threads": 2, "device": "CPU"}, "rows": rows}
    scaling = [
        {"recipe": name, "devices": n, "bytes": 1000, "calls": 1}
        for name in ("vdsr", "edsr")
        for n in (1, 8)
    ]
    machines, tpus = page(throughput, scaling, share=0.5).split("## TPU")
    assert "| vdsr | 16 | 4 | 0.001 | 4 | 32 | 256 | 1,020 |" in machines
    assert "edsr" not in machines
    assert "| edsr | 16 | 32 | 0.001 | 0.5 | 4 | 32 | 128 |" in tpus
