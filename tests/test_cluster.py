"""How processes of a run are recognised; joining them is in test_distributed."""

import jax
import pytest

from sr_jax import cluster


@pytest.fixture
def joined(monkeypatch):
    """The arguments with which JAX is asked to join processes."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *given: calls.append(given))
    for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    return calls


@pytest.mark.parametrize(
    ("variables", "arguments"),
    [
        ({}, None),
        ({"SLURM_STEP_NUM_TASKS": "1"}, None),
        ({"SLURM_STEP_NUM_TASKS": "2"}, (None, None, None)),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, (None, None, None)),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),  # any pod has it
        ({"KUBERNETES_SERVICE_HOST": "x", "JOB_COMPLETION_INDEX": "0"}, (None, None, None)),
        (
            {
                "JAX_COORDINATOR_ADDRESS": "host:1",
                "JAX_NUM_PROCESSES": "2",
                "JAX_PROCESS_ID": "1",
            },
            ("host:1", 2, 1),
        ),
    ],
)
def test_processes_are_found_by_their_variables(variables, arguments, joined, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    cluster.initialize()
    assert joined == ([] if arguments is None else [arguments])


def test_half_of_the_variables_is_an_error(joined, monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "host:1")
    with pytest.raises(ValueError, match="go together: give all"):
        cluster.initialize()
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(ValueError, match="JAX_NUM_PROCESSES is 'two', expected a whole number"):
        cluster.initialize()
    assert joined == []
