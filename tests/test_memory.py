"""Free memory, as the system and files of a made-up /proc and /sys tell it."""

import platform
import subprocess
import sys
import types

import pytest

from sr_jax.memory import available_memory, free_ram


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """`machine({path: text})`: a root folder; of the RAM 1000 KiB are available."""
    memory = types.SimpleNamespace(available=1000 * 1024)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)

    def make(files):
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return tmp_path

    return make


def group(limit, usage, inactive=0, folder="sys/fs/cgroup/job"):
    return {
        "proc/self/cgroup": "0::/job/step\n",
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{usage}\n",
        f"{folder}/memory.stat": f"anon 5\ninactive_file {inactive}\n",
    }


def test_what_the_system_calls_available(machine):
    assert free_ram(machine({})) == 1000 * 1024


@pytest.mark.parametrize(
    ("limit", "usage", "inactive", "free"),
    [
        (500_000, 200_000, 50_000, 350_000),
        ("max", 200_000, 0, 1000 * 1024),
        (9_000_000, 200_000, 0, 1000 * 1024),
        (500_000, 600_000, 0, 0),
    ],
)
def test_a_control_group_above_this_process_limits(machine, limit, usage, inactive, free):
    assert free_ram(machine(group(limit, usage, inactive))) == free


def test_control_groups_of_version_1(machine):
    folder = "sys/fs/cgroup/memory/job"
    files = {
        "proc/self/cgroup": "3:cpu:/job\n4:memory:/job\n",
        f"{folder}/memory.limit_in_bytes": "500000\n",
        f"{folder}/memory.usage_in_bytes": "100000\n",
        f"{folder}/memory.stat": "total_inactive_file 7\n",
    }
    assert free_ram(machine(files)) == 400_007


def test_this_machine_has_some():
    assert available_memory() > 2**20


@pytest.mark.parametrize("share", ["0", "-1", "1.5", "half"])
def test_a_process_may_count_on_a_part_of_it(share, monkeypatch):
    monkeypatch.setattr("sr_jax.memory.free_ram", lambda: 1000)
    monkeypatch.setenv("SR_JAX_MEMORY_SHARE", "0.25")
    assert available_memory() == 250
    monkeypatch.setenv("SR_JAX_MEMORY_SHARE", share)
    with pytest.raises(ValueError, match="expected a number above 0 and up to 1"):
        available_memory()


FAULTS = """
import ctypes, resource, sys
from sr_jax import memory
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
if sys.argv[1] == "keep":
    memory.keep_freed()
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [libc.malloc(9 * 2**20) for _ in range(3)]
    for block in blocks:
        ctypes.memset(block, 1, 9 * 2**20)
    for block in blocks:
        libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about the C library of GNU")
def test_what_was_freed_serves_the_next_blocks_of_its_size():
    """Page faults of the third round of three blocks of 9 MB."""
    faults = {}
    for how in ("keep", "leave"):
        command = [sys.executable, "-c", FAULTS, how]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        faults[how] = int(found.stdout)
    assert faults["keep"] < 100 < faults["leave"]
