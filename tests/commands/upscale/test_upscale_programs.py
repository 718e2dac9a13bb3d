"""The command `upscale`: what it compiles, what it keeps of that, and what it imports."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from folders import noise, outputs
from pictures import png_chunk

from sr_jax.commands.compilations import keep_compilations
from sr_jax.commands.upscale import upscale
from sr_jax.imaging.files import read_image, write_image


@pytest.mark.parametrize(
    ("options", "programs"),
    [
        ({"tile": "32"}, 3),  # 32 x 32; 20 and 25 pixels wide
        ({"tile": "32", "bucket": True}, 1),
        ({"tile": "none"}, 6),
        ({"tile": "none", "bucket": True}, 3),  # 64 x 64, 64 x 32, 32 x 32
    ],
)
def test_compilations_of_many_sizes(model, tmp_path, options, programs):
    """The network is compiled once for each shape that is sent through it, and no more."""
    from sr_jax.inference.program import compiled

    for height, width in [(40, 50), (33, 60), (64, 64), (40, 20), (64, 20), (25, 32)]:
        write_image(tmp_path / "in" / f"{height}-{width}.png", noise(height, width, 3))
    compiled.cache_clear()
    upscale([tmp_path / "in"], model=model, output=tmp_path / "out", **options)
    assert compiled.cache_info().misses == programs


@pytest.mark.parametrize(("count", "programs"), [(8, 8), (9, 1)])
def test_images_of_many_sizes_share_programs(model, tmp_path, capsys, count, programs):
    """By itself the command pads them: the same pixels as of every image by itself."""
    from sr_jax.inference.program import compiled

    for number in range(count):
        write_image(tmp_path / "in" / f"{number}.png", noise(17 + number, 90 - 7 * number, 3))

    def run(folder: str, **options: object) -> list[str]:
        upscale([tmp_path / "in"], model=model, output=tmp_path / folder, **options)
        return capsys.readouterr().out.splitlines()

    compiled.cache_clear()
    first, *_ = run("auto")
    assert compiled.cache_info().misses == programs
    assert ("share programs" in first and "--tile none" in first) == (programs == 1)
    run("alone", tile="none")
    for name in outputs(tmp_path / "alone"):
        shared, alone = (read_image(tmp_path / folder / name) for folder in ("auto", "alone"))
        # Rounding of float32 can turn 0.4999999 of a level into 0.5.
        np.testing.assert_allclose(np.int32(shared), alone, atol=1)
        assert (shared != alone).mean() < 1e-3
    lines = run("dry", dry_run=True)
    if programs == 1:
        assert lines.pop(0) == first
    assert len(lines) == count


def test_where_compilations_are_kept(tmp_path, monkeypatch):
    def kept() -> str | None:
        keep_compilations()
        return jax.config.values["jax_compilation_cache_dir"]

    threshold = jax.config.values["jax_persistent_cache_min_compile_time_secs"]
    try:
        jax.config.update("jax_enable_compilation_cache", True)
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert kept() is None  # cannot be written to: nothing is kept and nothing said
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert kept() == str(tmp_path / "home/.cache/sr_jax/compiled")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
        assert kept() == str(tmp_path / "home/.cache/sr_jax/compiled")  # set already
        jax.config.update("jax_compilation_cache_dir", None)
        assert kept() == str(tmp_path / "xdg/sr_jax/compiled")
        jax.config.update("jax_compilation_cache_dir", None)
        jax.config.update("jax_enable_compilation_cache", False)
        assert kept() is None
        assert jax.config.values["jax_persistent_cache_min_compile_time_secs"] < threshold
    finally:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", threshold)
        jax.config.update("jax_compilation_cache_dir", None)
        jax.config.update("jax_enable_compilation_cache", False)


def test_a_whole_run_in_a_process_of_its_own(model, tmp_path):
    """No warning, no TensorFlow; compiled programs are kept, and found by a second run."""
    write_image(tmp_path / "a.png", noise(9, 8, 3, dtype=np.uint16))
    whole = (tmp_path / "a.png").read_bytes()
    profile = png_chunk(b"iCCP", b"x\0\0junk")  # which is none, of which the decoder warns
    (tmp_path / "a.png").write_bytes(whole[:33] + profile + whole[33:])
    program = (
        "import json, sys, jax; from pathlib import Path\n"
        "from sr_jax.commands.upscale import upscale\n"
        "hits = []\n"
        "jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))\n"
        f"upscale([Path({str(tmp_path / 'a.png')!r})], model={model!r}, overwrite=True,\n"
        f"        output=Path({str(tmp_path / 'out')!r}), tile='none')\n"
        "print(json.dumps([sorted(sys.modules), hits]))\n"
    )
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "JAX_ENABLE_COMPILATION_CACHE": "1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    for run in range(2):
        process = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert process.returncode == 0, process.stderr
        assert process.stderr == ""
        modules, events = json.loads(process.stdout.splitlines()[-1])
        assert "tensorflow" not in modules
        assert ("/jax/compilation_cache/cache_hits" in events) == (run == 1)
    assert outputs(tmp_path / "cache" / "sr_jax" / "compiled")


def test_help_is_light():
    """`--help` loads nothing that takes long: that, not a stopwatch, keeps it below a second."""
    program = (
        "import sys; from sr_jax.__main__ import app\n"
        "try: app(['upscale', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'flax', 'numpy', 'tensorflow', 'PIL', 'scipy', 'matplotlib', 'absl'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)))\n"
    )
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert process.stderr == "\n"
    assert "--dry-run" in process.stdout
