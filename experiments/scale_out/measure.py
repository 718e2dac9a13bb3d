"""One process, two workers of Ray and two parts: throughput, and what an end half-way costs.

    python -m experiments.scale_out.measure --output experiments/scale_out/results

Crops of the photographs that come with the installed packages go through `sr-jax upscale`, as it
is typed. The first run compiles; all others find its programs in the cache folder. Results are
compared with those of one process, file by file.
"""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer

from experiments import harness
from experiments.upscaling.folder import draw_sizes, make_images
from sr_jax.imaging.files import read_image, write_image

POLL = 0.05  # seconds between two looks at the results
NAMES = 100_000  # images of the job whose names are held in memory

Words = Sequence[str]


def start(model: str, images: Path, output: Path, words: Words, log: Path) -> subprocess.Popen[str]:
    """The command, with its log kept."""
    command = [sys.executable, "-m", "sr_jax", "upscale", str(images), "--output", str(output)]
    with log.open("a") as file:
        return subprocess.Popen(
            [*command, "--model", model, *words], stdout=file, stderr=subprocess.STDOUT, text=True
        )


def results(output: Path) -> dict[str, tuple[int, int]]:
    """What tells each result from what might be written in its place."""
    found = {}
    for path in output.glob("*.png"):
        status = path.stat()
        found[path.name] = status.st_ino, status.st_mtime_ns
    return found


def wait_for(output: Path, count: int, running: Callable[[], bool]) -> dict[str, tuple[int, int]]:
    """The results once there are so many, or all where the command has ended first."""
    while running():
        found = results(output)
        if len(found) >= count:
            return found
        time.sleep(POLL)
    return results(output)


def ray_worker(process: subprocess.Popen[str]) -> int:
    """The process of a worker of the cluster that a command has started."""
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            title = " ".join(child.cmdline())
        except psutil.Error:
            continue
        if title.startswith("ray::") and "MapWorker" in title:
            return child.pid
    raise RuntimeError("there is no worker of Ray: see its log")


def run(
    method: str, model: str, images: Path, output: Path, log: Path
) -> tuple[float, dict[str, tuple[int, int]]]:
    """Runs one method; returns seconds, and the results that were there when something was ended.

    Where a part is ended, the same command is given again when the other one is done.
    """
    shares = [["--part", "1/2"], ["--part", "2/2"]] if "parts" in method else [[]]
    if "Ray" in method:
        shares = [["--ray", "--workers", "2"]]
    count = len(list(images.iterdir()))
    begin = time.perf_counter()
    processes = [start(model, images, output, words, log) for words in shares]
    there: dict[str, tuple[int, int]] = {}
    if "ended" in method:
        there = wait_for(output, count // 2, lambda: processes[-1].poll() is None)
        if processes[-1].poll() is None:
            ended = ray_worker(processes[0]) if "Ray" in method else processes[-1].pid
            os.kill(ended, signal.SIGKILL)
    codes = [process.wait() for process in processes]
    if "parts" in method and "ended" in method:
        assert codes[-1] == -signal.SIGKILL, "the part was done before it could be ended"
        codes[-1] = start(model, images, output, shares[-1], log).wait()
    assert not any(codes), f"{method}: exit codes {codes}, see {log}"
    return time.perf_counter() - begin, there


def check(output: Path, there: dict[str, tuple[int, int]], expected: Path) -> dict[str, Any]:
    """What is missing, other than by one process, or done more than once."""
    found, names = results(output), {path.name for path in expected.glob("*.png")}
    noted: Counter[str] = Counter()
    for record in output.glob(".sr_jax-*/*.json"):
        noted.update(json.loads(record.read_text())["done"])
    same = (np.array_equal(read_image(output / n), read_image(expected / n)) for n in found)
    return {
        "missing": len(names - found.keys()),
        "others": len(found.keys() - names),
        "different": sum(not equal for equal in same),
        "there when ended": len(there),
        "written again": sum(found[name] != status for name, status in there.items()),
        "noted twice": sum(times > 1 for times in noted.values()),
    }


def measure(
    method: str, model: str, images: Path, output: Path, expected: Path, log: Path
) -> dict[str, Any]:
    """A row of one method."""
    seconds, there = run(method, model, images, output, log)
    times = sorted(when / 1e9 for _, when in results(output).values())
    steady = (len(times) - 1) / (times[-1] - times[0])
    records = [path.stat().st_size for path in output.glob(".sr_jax-*/*.json")]
    return {
        "seconds": seconds,
        "images/s": len(times) / seconds,
        "images/s from first to last": steady,
        "seconds to the first": seconds - (times[-1] - times[0]),
        "bytes in": sum(path.stat().st_size for path in images.iterdir()) / len(times),
        "bytes out": sum(path.stat().st_size for path in output.glob("*.png")) / len(times),
        "bytes of records": sum(records) / len(times),
        **check(output, there, expected),
    }


def names_in_memory(count: int) -> dict[str, Any]:
    """Memory of the command for each image of a job, and how long it takes to name them all."""
    from sr_jax.commands.many_images import find_items
    from sr_jax.scale import places
    from sr_jax.scale.parts import WHOLE
    from sr_jax.scale.records import Records

    root = f"memory://{uuid.uuid4().hex}"
    for number in range(count):
        places.write(f"{root}/in/{number // 1000:04}/{uuid.UUID(int=number).hex}.png", b"")
    before, begin = harness.resident("VmRSS"), time.perf_counter()
    output = Path(f"{root}/out")
    items, _ = find_items([Path(f"{root}/in")], output, "", ".png", WHOLE)
    Records(places.locate(output), {}).sort(items)
    seconds = time.perf_counter() - begin
    return {"bytes a name": (harness.resident("VmRSS") - before) / count, "seconds": seconds}


def files(images: Path, results: Path, written: Path) -> dict[str, Any]:
    """What one core needs for the files alone: read an image, write a result."""
    paths, pixels = sorted(images.iterdir()), 0
    begin = time.process_time()
    for path in paths:
        pixels += math.prod(read_image(path).shape[:2])
    between = time.process_time()
    large = [read_image(results / path.name) for path in paths]
    begin_writing = time.process_time()
    for path, image in zip(paths, large, strict=True):
        write_image(written / path.name, image)
    end = time.process_time()
    return {
        "pixels": pixels / len(paths),
        "core seconds to read": (between - begin) / len(paths),
        "core seconds to write": (end - begin_writing) / len(paths),
    }


METHODS = (
    "one process, nothing compiled",
    "one process",
    "Ray, 2 workers",
    "Ray, 2 workers, one ended half-way",
    "2 parts",
    "2 parts, one ended half-way",
)


def main(
    output: Annotated[Path, typer.Option(help="Folder for scale_out.json and .md.")],
    model: Annotated[str, typer.Option(help="As of sr-jax upscale.")] = "edsr_small_x2",
    count: Annotated[int, typer.Option(help="Images.")] = 500,
    sizes: Annotated[int, typer.Option(help="Different sizes among them.")] = 4,
    shortest: Annotated[int, typer.Option(help="Least side of an image, in pixels.")] = 160,
    longest: Annotated[int, typer.Option(help="Greatest side of an image, in pixels.")] = 240,
    names: Annotated[int, typer.Option(help="Images whose names are held in memory.")] = NAMES,
    folder: Annotated[
        Path | None, typer.Option(help="For images and logs; else a temporary one.")
    ] = None,
    run_alone: Annotated[str, typer.Option("--run", help="Used by the script itself.")] = "",
) -> None:
    """Measures all methods; rows that exist are kept, so that a run can be resumed."""
    if run_alone:
        print(json.dumps(names_in_memory(json.loads(run_alone))))
        return
    rows = harness.Rows(output, table, "scale_out")
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(place / "compiled")
        images, expected, log = place / "in", place / "one", place / "log.txt"
        if not images.exists():
            make_images(images, count, draw_sizes(sizes, shortest, longest))
        case = {"model": model, "images": count, "sizes": sizes, "sides": f"{shortest}-{longest}"}
        for method in METHODS:
            results_of = expected if method == METHODS[0] else place / "other"
            known = not rows.missing(case | {"method": method})
            if known and (method != METHODS[0] or expected.exists()):
                continue
            shutil.rmtree(results_of, ignore_errors=True)
            row = measure(method, model, images, results_of, expected, log)
            if not known:
                rows.add(case | {"method": method} | row)
        if rows.missing(case | {"method": "files"}):
            rows.add(case | {"method": "files"} | files(images, expected, place / "written"))
        if rows.missing({"method": "names", "images": names}):
            found = harness.ask("experiments.scale_out.measure", names)
            rows.add({"method": "names", "images": names} | found)
    rows.write_table()


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    head = ["images", "method", "seconds", "images/s", "from first to last", "missing"]
    head += ["different", "there when ended", "written again", "noted twice"]
    lines = []
    for row in rows:
        if row["method"] not in METHODS:
            continue
        speeds = f"{row['images/s']:.2f}", f"{row['images/s from first to last']:.2f}"
        cells = [f"{row['images']} of {row['sides']} pixels", row["method"]]
        cells += [f"{row['seconds']:.1f}", *speeds, row["missing"], row["different"]]
        cells += [row["there when ended"], row["written again"], row["noted twice"]]
        lines.append(cells)
    page = harness.table(head, lines)
    for row in rows:
        if row["method"] == "names":
            page += [
                "",
                f"The names of {row['images']:,} images take {row['bytes a name']:.0f} bytes each "
                f"in the memory of the command, and {row['seconds']:.1f} s to be sorted out.",
            ]
        elif row["method"] == "files":
            page += [
                "",
                f"To read an image of {row['pixels']:,.0f} pixels takes a core "
                f"{1e3 * row['core seconds to read']:.1f} ms, to write its result "
                f"{1e3 * row['core seconds to write']:.1f} ms.",
            ]
    return "\n".join(page)


if __name__ == "__main__":
    typer.run(main)
