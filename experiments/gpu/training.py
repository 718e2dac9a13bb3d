"""Trainings on the card: VDSR by the paper's recipe, EDSR-baseline as far as it gets.

The child is told to end by SIGTERM, which its training takes as well: it saves a checkpoint, and
what is there comes home.
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

from experiments.gpu.serving import serve

PART = 15 * 2**20  # bytes: no file that comes back may be larger than 16 MiB
ITEMS = ("vdsr", "vdsr scores", "edsr_baseline")
PUBLISHED = {"2": 37.53, "3": 33.66, "4": 31.35}  # VDSR on Set5, table 3 of the paper


def measure(item: str, options: dict[str, Any]) -> dict[str, Any]:
    """One of `ITEMS`; `options` has data, scratch, output and small."""
    scratch, output, data = (Path(options[key]) for key in ("scratch", "output", "data"))
    if item == "vdsr":
        return train_vdsr(scratch, output, data, options["small"])
    if item == "vdsr scores":
        return score_vdsr(scratch, output, data)
    return train_edsr(scratch, output, data, options["small"])


def train_vdsr(scratch: Path, output: Path, data: Path, small: bool) -> dict[str, Any]:
    """9,960 updates on the 291 images; goes on from what an earlier run brought home."""
    workdir = scratch / "vdsr"
    unpack(sorted(data.glob("vdsr.tar.*")), workdir)
    recipe = f"--config=configs/vdsr.py:folder={data / '291'}"
    settings = ["--config.train.log_every=200", "--config.train.eval_every=2490"]
    if small:
        settings = ["--config.train.steps=2", "--config.data.batch_size=2"]
        settings += ["--config.model.depth=3", "--config.train.eval_images=1"]
    found = train(workdir, recipe, *settings)
    weights = workdir / "weights.safetensors"
    if weights.exists():
        _place(weights.read_bytes(), output / "vdsr.safetensors")
    else:
        pack(workdir, output / "vdsr.tar")
    return found


def score_vdsr(scratch: Path, output: Path, data: Path) -> dict[str, Any]:
    """Set5 at x2, x3 and x4, with luma rounded as the paper's table has it."""
    scores = scratch / "vdsr-scores.json"
    command = [sys.executable, "-m", "sr_jax", "evaluate", "--round-luma"]
    command += ["--model", str(output / "vdsr.safetensors"), "--output", str(scores)]
    command += [word for scale in PUBLISHED for word in ("--scale", scale)]
    run([*command, str(data / "291/validation/Set5")])
    return {"published": PUBLISHED, "rows": json.loads(scores.read_text())}


def train_edsr(scratch: Path, output: Path, data: Path, small: bool) -> dict[str, Any]:
    """EDSR-baseline x2 until the time is over; goes on from what an earlier run brought home."""
    workdir = scratch / "edsr_baseline"
    unpack(sorted(data.glob("edsr_baseline.tar.*")), workdir)
    settings = ["--config.train.log_every=100", "--config.train.eval_every=5000"]
    settings += ["--config.train.checkpoint_every=2000", "--config.train.keep_checkpoints=1"]
    if small:
        settings = ["--config.train.steps=2", "--config.data.batch_size=2"]
        settings += ["--config.model.n_resblocks=1", "--config.model.n_feats=4"]
        settings += ["--config.train.eval_images=1"]
    recipe = f"--config=configs/edsr.py:x2,baseline,folder={data / '291'}"
    found = train(workdir, recipe, *settings)
    pack(workdir, output / "edsr_baseline.tar")
    return found


def train(workdir: Path, *arguments: str) -> dict[str, Any]:
    """Runs the training program; a stop on request is no failure."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "sr_jax.main", f"--workdir={workdir}", *arguments]
    command.append("--config.data.placement=device")  # TensorFlow need not be there
    # The second code is that of a program that was told to end before it listened.
    code = run(command, stopped=(128 + signal.SIGTERM, -signal.SIGTERM))
    steps = [int(path.name) for path in (workdir / "checkpoints").glob("[0-9]*")]
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "stopped": code != 0,
        "step": max(steps, default=0),
    }


def run(command: list[str], *, stopped: tuple[int, ...] = ()) -> int:
    """Runs a command that prints to the log.

    Raises:
        RuntimeError: its exit code is neither 0 nor one of `stopped`.
    """
    code = subprocess.run(command, stdout=sys.stderr).returncode
    if code not in (0, *stopped):
        raise RuntimeError(f"{' '.join(command[1:4])} ended with {code}; the log says why")
    return code


def pack(workdir: Path, target: Path) -> None:
    """The newest checkpoint and the config, as TARGET.00, TARGET.01 ... of at most 15 MiB."""
    steps = [path for path in (workdir / "checkpoints").glob("[0-9]*") if path.name.isdecimal()]
    if not steps:
        return
    newest = max(steps, key=lambda path: int(path.name))
    whole = target.with_suffix(".whole")
    with tarfile.open(whole, "w:xz") as archive:
        archive.add(newest, f"checkpoints/{newest.name}")
        archive.add(workdir / "config.json", "config.json")
    data = whole.read_bytes()
    whole.unlink()
    for number, begin in enumerate(range(0, len(data), PART)):
        _place(data[begin : begin + PART], Path(f"{target}.{number:02d}"))


def unpack(parts: list[Path], workdir: Path) -> None:
    """Makes a workdir of what `pack` wrote, if there is any."""
    if not parts:
        return
    workdir.mkdir(parents=True)
    whole = workdir / "whole.tar"
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    with tarfile.open(whole) as archive:
        archive.extractall(workdir, filter="data")
    whole.unlink()


def _place(data: bytes, path: Path) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: None)  # the training saves; then this answers
    serve(measure)
