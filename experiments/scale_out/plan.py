"""What a hundred million images cost on 64 GPUs, by the rows that `measure` has found.

    python -m experiments.scale_out.plan --help

What was not measured is asked for: the images that a GPU upscales in a second, how often workers
end and images fail, and prices, of which the reader knows today's. Bytes and times of files grow
with the pixels from those measured. Prints a page in Markdown.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from experiments import harness
from sr_jax.scale.blocks import split

RESULTS = Path(__file__).parent / "results" / "scale_out.json"
LISTED = 1000  # objects in an answer of S3 or GCS


def read_rows(path: Path, model: str) -> dict[str, dict[str, Any]]:
    """The rows of a network, by their method; and that of names."""
    rows = json.loads(path.read_text())
    return {row["method"]: row for row in rows if row.get("model", model) == model}


def plan(
    rows: dict[str, dict[str, Any]],
    *,
    rate: float,
    pixels: float,
    images: float,
    gpus: int,
    job: float,
    gpu_hour: float,
    gigabyte_month: float,
    thousand_puts: float,
    thousand_gets: float,
    hours_between_ends: float,
    failing: float,
) -> list[tuple[str, str, str]]:
    """Rows of what, how much, and what follows from what."""
    ray = rows["Ray, 2 workers"]
    efficiency = (
        ray["images/s from first to last"] / rows["one process"]["images/s from first to last"]
    )
    jobs = math.ceil(images / job)
    block = len(split(range(int(job)), gpus)[0].items)
    naming = job * rows["names"]["seconds"] / rows["names"]["images"]
    seconds = images / (rate * gpus) + jobs * (ray["seconds to the first"] + naming)
    hours = seconds / 3600
    ends = gpus * hours / hours_between_ends
    lost = ends * (ray["seconds to the first"] + block / rate) / 3600
    puts = images + 2 * images / block
    gets = images + jobs * job / block
    lists = 2 * images / LISTED + images / block / LISTED
    larger = pixels / rows["files"]["pixels"]
    bytes_in, bytes_out = larger * ray["bytes in"], larger * ray["bytes out"]
    storage = images * (bytes_in + bytes_out + ray["bytes of records"])
    reading, writing = (
        larger * rows["files"][f"core seconds to {what}"] for what in ("read", "write")
    )
    return [
        ("jobs", f"{jobs:,} of {job:,.0f} images", "a folder for each"),
        (
            "memory of the command",
            f"{job * rows['names']['bytes a name'] / 1e9:.1f} GB",
            f"{rows['names']['bytes a name']:.0f} bytes a name, measured",
        ),
        (
            "time",
            f"{hours:.1f} h",
            f"{rate:g} images/s a GPU, given; {naming:.0f} s to name the images of a job and "
            f"{ray['seconds to the first']:.0f} s to the first one, measured",
        ),
        (
            "CPU cores that a GPU needs for files",
            f"{rate * (reading + writing):.1f}",
            f"{1e3 * reading:.0f} ms to read an image and {1e3 * writing:.0f} ms to write it, "
            f"measured and times {larger:.1f} for the pixels",
        ),
        ("GPU hours", f"{gpus * hours + lost:,.0f}", "with what is done anew"),
        ("GPUs", f"{(gpus * hours + lost) * gpu_hour:,.0f}", f"{gpu_hour:g} an hour"),
        (
            "storage",
            f"{storage / 1e12:.1f} TB, {storage / 1e9 * gigabyte_month:,.0f} a month",
            f"{bytes_in:,.0f} bytes in, {bytes_out:,.0f} out, {ray['bytes of records']:.0f} of "
            f"records, measured and the first two times {larger:.1f}; {gigabyte_month:g} a GB",
        ),
        (
            "requests",
            f"{(puts + lists) / 1000 * thousand_puts + gets / 1000 * thousand_gets:,.0f}",
            f"{puts:,.0f} put, {gets:,.0f} got, {lists:,.0f} lists",
        ),
        (
            "workers that end",
            f"{ends:,.0f}, {lost:.1f} GPU hours done anew",
            f"one in {hours_between_ends:g} h of each, given; a start and at most a block of "
            f"{block} images",
        ),
        (
            "images that fail",
            f"{images * failing:,.0f}",
            f"{failing:g} of them, given: a table for each job, and the same command tries them "
            "again",
        ),
        (
            "two workers against one process, here",
            f"{efficiency:.2f} times",
            "measured on CPUs that both share; on GPUs each worker has its own",
        ),
    ]


def main(
    rate: Annotated[float, typer.Option(help="Images that a GPU upscales in a second.")],
    pixels: Annotated[float, typer.Option(help="Of an image.")],
    gpu_hour: Annotated[float, typer.Option(help="Price.")],
    gigabyte_month: Annotated[float, typer.Option(help="Price of storage.")],
    thousand_puts: Annotated[float, typer.Option(help="Price of requests that write or list.")],
    thousand_gets: Annotated[float, typer.Option(help="Price of requests that read.")],
    hours_between_ends: Annotated[
        float, typer.Option(help="After which a worker ends, on average.")
    ],
    failing: Annotated[float, typer.Option(help="Share of images that cannot be upscaled.")],
    images: Annotated[float, typer.Option(help="How many.")] = 1e8,
    gpus: Annotated[int, typer.Option(help="How many.")] = 64,
    job: Annotated[float, typer.Option(help="Images of one command.")] = 1e6,
    rows: Annotated[Path, typer.Option(help="What was measured.")] = RESULTS,
    model: Annotated[str, typer.Option(help="The network of the rows.")] = "edsr_small_x2",
) -> None:
    """Prints the plan."""
    found = plan(
        read_rows(rows, model),
        rate=rate,
        pixels=pixels,
        images=images,
        gpus=gpus,
        job=job,
        gpu_hour=gpu_hour,
        gigabyte_month=gigabyte_month,
        thousand_puts=thousand_puts,
        thousand_gets=thousand_gets,
        hours_between_ends=hours_between_ends,
        failing=failing,
    )
    print(f"{images:,.0f} images on {gpus} GPUs:\n")
    print("\n".join(harness.table(["what", "how much", "by"], found)))


if __name__ == "__main__":
    typer.run(main)
