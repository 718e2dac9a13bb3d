"""What a figure was measured with."""

import datetime
import importlib.metadata
import os
import platform
import subprocess

import jax


def environment() -> str:
    """Hardware, versions, commit and day in one line."""
    device = jax.devices()[0]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cpu = f"{os.cpu_count()} CPU cores ({platform.machine()}), {memory:.0f} GiB"
    versions = (f"{name} {importlib.metadata.version(name)}" for name in ("jax", "flax", "numpy"))
    describe = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, check=True, capture_output=True, text=True).stdout.strip()
    return (
        f"{cpu if device.platform == 'cpu' else device.device_kind}; "
        f"Python {platform.python_version()}, {', '.join(versions)}; "
        f"commit {commit}, {datetime.date.today()}"
    )
