"""Compiled programs are kept from run to run."""

import os
import tempfile
from pathlib import Path


def keep_compilations() -> None:
    """Lets JAX keep what it compiles in the user's cache folder, where that can be written to.

    JAX_COMPILATION_CACHE_DIR names another one; JAX_ENABLE_COMPILATION_CACHE=0 keeps nothing.
    """
    import jax

    config = jax.config.values
    if config["jax_compilation_cache_dir"] or not config["jax_enable_compilation_cache"]:
        return
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(cache, "sr_jax", "compiled")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):  # no home, no space, not ours: then every run compiles anew
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # By itself JAX keeps what took a second or more; a small network is compiled in less, but for
    # every size again.
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
