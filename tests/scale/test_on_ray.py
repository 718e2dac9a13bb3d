"""Clusters that are not there; what workers do is in tests/commands."""

import pytest

from sr_jax.scale import on_ray


def test_a_cluster_that_does_not_answer_is_told_at_once():
    pytest.importorskip("ray", reason="needs Ray, of the extra scale")
    message = r"--ray 127\.0\.0\.1:1: nobody answers there \(.*refused"
    with pytest.raises(ValueError, match=message):
        on_ray.connect("127.0.0.1:1", None)


@pytest.mark.parametrize(
    ("cluster", "words", "share"),
    [
        (on_ray.Cluster(1, False, 2, 1), "1 worker on 1 machine, 2 CPU cores for each", 1.0),
        (on_ray.Cluster(8, False, 1, 2), "8 workers on 2 machines, 1 CPU core for each", 0.25),
        (on_ray.Cluster(64, True, 1, 8), "64 workers on 8 machines, a GPU for each", 1.0),
    ],
)
def test_what_there_is(cluster, words, share):
    assert cluster.describe() == f"Ray: {words}"
    assert cluster.memory_share == share
