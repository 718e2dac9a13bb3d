"""What damaged and nonsensical input does to the commands: python -m experiments.robustness.altered

Every image, weights file and config value goes to the command that a user would type, in a process
of its own. What is counted and what must be 0 is in README.md.
"""

import collections
import dataclasses
import json
import os
import pickle
import random
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors
import safetensors.numpy
import typer
from PIL import Image
from rich.progress import track

from experiments.harness import REPOSITORY, Rows, table
from sr_jax import __main__ as commands
from sr_jax import weights
from sr_jax.commands.console import run
from sr_jax.imaging.files import read_image, write_image
from sr_jax.models import create_model, variable_shapes

SECONDS = 60  # that a command may take
# What a command may take beyond what it had when it began: a tiny image and a tiny network.
MEGABYTES = 2000
SIZE = 24

WRONG_VALUES: dict[str, Sequence[str]] = {
    "seed": ("-1", "4294967296", "x"),
    "init_from": ("/no/such/file", "/dev/null"),
    "data.source": ("web", ""),
    "data.path": ("/no/such/folder", "/dev/null"),
    "data.scales": ("()", "(1,)", "(2,2)", "(0,)", "(99,)", "(3,)", "('a',)"),
    "data.lr_patch_size": ("0", "-5", "100000", "1.5"),
    "data.batch_size": ("0", "-16", "x"),
    "data.placement": ("disk",),
    "data.threads": ("0", "-1", "100000"),
    "data.cache_megabytes": ("-1",),
    "train.steps": ("0", "-1", "99999999999", "many"),
    "train.log_every": ("0", "-1"),
    "train.eval_every": ("0", "-1"),
    "train.eval_images": ("0", "-3"),
    "train.checkpoint_every": ("0", "-1"),
    "train.keep_checkpoints": ("0", "-1"),
    "train.keep_checkpoints_every": ("-1",),
    "train.accumulate": ("-1", "3", "17"),
    "train.dtype": ("float16", "int8", "float64"),
    "train.ema": ("1.0", "-0.1", "nan", "2"),
    "train.no_such_field": ("1",),
    "optimizer.name": ("lion", ""),
    "optimizer.learning_rate": ("0", "-1e-4", "nan", "inf"),
    "optimizer.decay_factor": ("0", "-1", "2", "nan"),
    "optimizer.decay_every": ("-1",),
    "optimizer.decay_at": ("(0,)", "(-1,)", "(1.5,)"),
    "optimizer.b1": ("1", "-0.1", "nan"),
    "optimizer.b2": ("1", "1.5"),
    "optimizer.eps": ("0", "-1e-8", "nan"),
    "optimizer.momentum": ("1", "-1"),
    "optimizer.weight_decay": ("-1", "nan"),
    "optimizer.clip": ("gradient", "norm", "value"),
    "optimizer.clip_bound": ("-1", "1", "nan"),
    "loss.name": ("l3", "vgg22x", ""),
    "loss.scale": ("0", "-255", "nan"),
    "loss.vgg": ("vgg.safetensors",),
    "adversarial.weight": ("-1", "nan"),
    "adversarial.n_feats": ("0", "32"),
    "model.name": ("esrgan", "os", "os:system", "os.path:join", ""),
    "model.scale": ("0", "1", "-2", "2.5", "3"),
    "model.n_resblocks": ("0", "-1", "100000000", "x"),
    "model.n_feats": ("0", "-1", "1000000000"),
    "model.n_colors": ("0", "2", "1000000"),
    "model.res_scale": ("nan", "inf", "-1"),
    "model.rgb_range": ("0", "-1", "nan"),
    "model.depth": ("3",),
}


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended: exit code (None: it was stopped), output, seconds, megabytes.

    `wrong` is what its results show that must not be.
    """

    code: int | None
    output: str
    seconds: float
    megabytes: float
    wrong: tuple[str, ...] = ()

    def failures(self) -> list[str]:
        """What must not be."""
        found = list(self.wrong)
        if "Traceback" in self.output:
            found.append("traceback")
        if self.code is None:
            found.append("hang")
        elif self.code < 0:
            found.append("crash")
        if self.megabytes > MEGABYTES:
            found.append("memory")
        return found


def fork(program: Callable[[], object]) -> Ended:
    """Runs a command in a copy of this process, which has imported what takes long."""
    ours, theirs = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if not child:
        os.setsid()
        for stream in (1, 2):
            os.dup2(theirs, stream)
        code = 1
        try:
            run(program)
            code = 0
        except SystemExit as ended:
            if isinstance(ended.code, str):
                print(ended.code, file=sys.stderr)
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    os.close(theirs)
    output, stopped = b"", False
    while True:
        left = start + SECONDS - time.monotonic()
        if left <= 0 or not select.select([ours], [], [], left)[0]:
            os.killpg(child, signal.SIGKILL)
            stopped = True
            break
        chunk = os.read(ours, 2**16)
        if not chunk:
            break
        output += chunk
    os.close(ours)
    _, status, used = os.wait4(child, 0)
    seconds = time.monotonic() - start
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code = None if stopped else os.waitstatus_to_exitcode(status)
    return Ended(code, output.decode(errors="replace"), seconds, (used.ru_maxrss - before) / 1024)


def alter(content: bytes, rng: random.Random) -> bytes:
    """One of seven kinds of damage, at a random place; half of them near the beginning."""
    data = bytearray(content)
    near = len(data) if rng.random() < 0.5 else min(len(data), 200)
    place = rng.randrange(near)
    length = min(rng.choice((1, 4, 64)), len(data) - place)
    kind = rng.randrange(7)
    if kind == 0:
        del data[place:]
    elif kind == 1:
        data[place : place + length] = rng.randbytes(length)
    elif kind == 2:
        data[place : place + length] = bytes(length)
    elif kind == 3:
        data[place : place + length] = b"\xff" * length
    elif kind == 4:
        del data[place : place + length]
    elif kind == 5:
        data[place:place] = rng.randbytes(length)
    else:
        data[place] ^= 1 << rng.randrange(8)
    return bytes(data)


def pictures(folder: Path) -> dict[str, bytes]:
    """A sound image of every kind: name -> content."""
    draw = np.random.default_rng(0).integers
    ramp = np.add.outer(np.arange(SIZE), 5 * np.arange(SIZE)).astype(np.uint8)
    rgb = np.stack([ramp, ramp.T, 255 - ramp], -1)
    deep = draw(0, 2**16, (SIZE, SIZE, 3), np.uint16)
    arrays = {
        "rgb.png": rgb,
        "grey.png": ramp,
        "rgba.png": np.dstack([rgb, ramp]),
        "deep.png": deep,
        "rgb.tif": rgb,
        "deep.tif": deep,
        "rgb.jpg": rgb,
        "rgba.webp": np.dstack([rgb, ramp]),
        "rgb.avif": rgb,
        "grey.bmp": ramp,
    }
    for name, image in arrays.items():
        write_image(folder / name, image)
    Image.fromarray(rgb).save(folder / "rgb.gif")
    Image.fromarray(rgb).save(folder / "rgb.jp2")
    Image.fromarray(rgb).convert("CMYK").save(folder / "cmyk.jpg")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def write_model(path: Path, **fields: Any) -> None:
    """A weights file of a small network."""
    model = create_model("edsr_baseline", n_resblocks=1, n_feats=4, **fields)
    rng = np.random.default_rng(0)
    variables = variable_shapes(model)
    import jax

    weights.save(
        path, model, jax.tree.map(lambda s: rng.normal(0, 0.05, s.shape).astype(s.dtype), variables)
    )


def command(*arguments: str | Path) -> Callable[[], object]:
    """A command as typed behind `sr-jax`."""
    return lambda: commands.app([str(argument) for argument in arguments])


def upscale_altered(work: Path, count: int, rng: random.Random) -> Iterator[tuple[str, Ended]]:
    """Images, each in a folder with a sound one."""
    fork(lambda: write_model(work / "model.safetensors"))
    sound = pictures(work / "sound")
    for number in track(range(count), "images"):
        name = sorted(sound)[number % len(sound)]
        folder, out = work / "in", work / "out"
        folder.mkdir()
        (folder / f"bad-{name}").write_bytes(alter(sound[name], rng))
        (folder / "good.png").write_bytes(sound["rgb.png"])
        ended = fork(
            command("upscale", folder, "--model", work / "model.safetensors", "--output", out)
        )
        yield f"image {number} ({name})", _check_folder(ended, out, f"bad-{name}")
        shutil.rmtree(folder)
        shutil.rmtree(out, ignore_errors=True)


def _check_folder(ended: Ended, out: Path, bad: str) -> Ended:
    """Looks at what was written."""
    made = {path.name for path in out.glob("[!.]*")}
    wrong = []
    if "good.png" not in made or read_image(out / "good.png").shape != (2 * SIZE, 2 * SIZE, 3):
        wrong.append("others lost")
    for path in out.glob("[!.]*"):
        read_image(path)
    if len(made) < 2 and len(re.findall(f"error: .*{re.escape(bad)}.*", ended.output)) != 1:
        wrong.append("not told")
    if list(out.glob(".*.tmp")):
        wrong.append("half-written", "nonsense accepted")
    return dataclasses.replace(ended, wrong=tuple(wrong))


class Bomb:
    """What would leave a trace, were it unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.trace}",)


def load_altered(work: Path, count: int, rng: random.Random) -> Iterator[tuple[str, Ended]]:
    """Weights files: damaged bytes, nonsense in the metadata, and pickles that run code."""
    good = work / "model.safetensors"
    fork(lambda: write_model(good))
    image = work / "sound" / "rgb.png"
    write_image(image, np.zeros((SIZE, SIZE, 3), np.uint8))
    trace = work / "executed"
    with safetensors.safe_open(good, framework="numpy") as file:
        metadata, tensors = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    nonsense = (None, -1, 0, 1e9, 10**30, 1.5, float("nan"), "x", [], [1] * 9, {}, True, "9" * 5000)
    for number in track(range(count), "weights files"):
        path, kind = work / f"bad-{number}.safetensors", number % 4
        if kind == 0:
            path.write_bytes(alter(good.read_bytes(), rng))
        elif kind == 3:
            path = path.with_suffix(".pth")
            content = {"params": {"a": 1}, "model": Bomb(trace)}
            path.write_bytes(
                alter(pickle.dumps(content), rng) if rng.random() < 0.5 else pickle.dumps(content)
            )
        else:
            fields = json.loads(metadata["hyperparameters"])
            if kind == 1:
                fields[rng.choice([*fields, "depth"])] = rng.choice(nonsense)
                said = json.dumps(fields)
            else:
                said = rng.choice(
                    ("", "[]", "null", "{", json.dumps(fields)[:-5], "[" * 10000, "7")
                )
            changed = metadata | {
                rng.choice(("hyperparameters", "hyperparameters", "architecture")): said
            }
            if rng.random() < 0.2:
                del changed[rng.choice(sorted(changed))]
            safetensors.numpy.save_file(tensors, path, changed)
        out = work / "out"
        ended = fork(command("upscale", image, "--model", path, "--output", out))
        wrong = []
        if trace.exists():
            wrong.append("executed")
            trace.unlink()
        if ended.code and out.exists():
            wrong.append("half-written", "nonsense accepted")
        if ended.code and ended.output.count("error: ") != 1:
            wrong.append("not told")
        yield f"weights file {number}", dataclasses.replace(ended, wrong=tuple(wrong))
        shutil.rmtree(out, ignore_errors=True)
        path.unlink()


def train_wrong(work: Path, count: int, rng: random.Random) -> Iterator[tuple[str, Ended]]:
    """Values of a config, of which every one is wrong; the trainings would be short."""
    from absl import app

    from sr_jax import main

    cases = [(field, value) for field, values in WRONG_VALUES.items() for value in values]
    for field, value in track(rng.sample(cases, min(count, len(cases))), "config values"):
        workdir = work / "run"
        argv = [
            "main",
            "--config=configs/edsr.py:smoke",
            "--config.train.steps=2",
            f"--workdir={workdir}",
            f"--config.{field}={value}",
        ]

        def program(argv: list[str] = argv) -> None:
            sys.argv = argv  # where ml_collections looks
            app.run(main.main, flags_parser=main.parse_flags)

        ended = fork(program)
        wrong = []
        names = {field.split(".")[-1], value or "''", "free: make the network smaller"}
        lines = [line for line in ended.output.splitlines() if line.startswith("error: ")]
        if ended.code and (len(lines) != 1 or not any(n in lines[0] for n in names)):
            wrong.append("not told")
        if not ended.code:
            wrong.append("nonsense accepted")
        if (workdir / "checkpoints").exists():
            wrong.append("half-written", "nonsense accepted")
        yield f"{field}={value}", dataclasses.replace(ended, wrong=tuple(wrong))
        shutil.rmtree(workdir, ignore_errors=True)


def main(
    images: Annotated[int, typer.Option(help="How many altered images.")] = 400,
    weights_files: Annotated[int, typer.Option("--weights", help="Altered weights files.")] = 200,
    values: Annotated[int, typer.Option(help="Wrong values of configs.")] = 100,
    seed: Annotated[int, typer.Option(help="Of the damage.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder of rows and table.")] = Path(
        "experiments/robustness/results"
    ),
) -> None:
    """Writes how many were refused and how many did what must not be; prints each of the latter."""
    os.chdir(REPOSITORY)
    # JAX begins its threads in the copies alone.
    warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "0"
    rows = Rows(output, make_table)
    parts = (
        ("images", upscale_altered, images),
        ("weights files", load_altered, weights_files),
        ("config values", train_wrong, values),
    )
    done = []
    for kind, play, count in parts:
        case = {"kind": kind, "seed": seed, "count": count}
        if not count or not rows.missing(case):
            continue
        found: collections.Counter[str] = collections.Counter()
        slowest = most = 0.0
        with tempfile.TemporaryDirectory() as work:
            for name, ended in play(Path(work), count, random.Random(seed)):
                found["refused" if ended.code else "accepted"] += 1
                slowest, most = max(slowest, ended.seconds), max(most, ended.megabytes)
                for failure in ended.failures():
                    found[failure] += 1
                    print(f"{name}: {failure}\n{ended.output.strip()}\n", flush=True)
        done.append(case | {"found": dict(found), "seconds": slowest, "megabytes": most})
    for row in done:  # which begins JAX's threads, to say where this was measured
        rows.add(row)


def make_table(rows: list[dict[str, Any]]) -> str:
    """Markdown of the rows."""
    bad = ("traceback", "hang", "crash", "memory", "not told", "executed", "others lost")
    columns = ("refused", "accepted", *bad, "half-written", "nonsense accepted")
    lines = table(
        ("input", "number", *columns, "slowest, s", "most memory, MB"),
        (
            (
                row["kind"],
                row["count"],
                *(row["found"].get(name, 0) for name in columns),
                f"{row['seconds']:.1f}",
                f"{row['megabytes']:.0f}",
            )
            for row in rows
        ),
    )
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
