"""How many patches a second the input pipeline delivers, with nothing else running.

python -m experiments.input_pipeline.measure [--seconds=5]
"""

import importlib
import time
from typing import Annotated

import jax
import typer

from sr_jax.data.pipeline import batches
from sr_jax.models import create_model
from sr_jax.sharding import make_mesh
from sr_jax.train import make_sampler

RECIPES = ("edsr:x2,baseline,photos", "srcnn:x2,photos", "vdsr:photos")


def patches_per_second(recipe: str, seconds: float) -> tuple[float, int]:
    """Rate of one recipe's pipeline after a warm-up, and the patch's side."""
    name, _, arguments = recipe.partition(":")
    config = importlib.import_module(f"configs.{name}").get_config(arguments)
    sampler = make_sampler(config, create_model(**config.model))
    mesh = make_mesh(config.data.batch_size)
    stream = batches(sampler, mesh, 0, 10**6, threads=config.data.threads)
    for _ in range(10):  # decodes the images
        next(stream)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        jax.block_until_ready(next(stream))
        count += config.data.batch_size
    return count / (time.perf_counter() - start), config.data.lr_patch_size


def main(seconds: Annotated[float, typer.Option(help="Of each measurement.")] = 5.0) -> None:
    """Prints a table in Markdown."""
    print("| recipe | patch | patches/s, median of 3 | min | max |\n|---|---|---|---|---|")
    for recipe in RECIPES:
        runs = sorted(patches_per_second(recipe, seconds) for _ in range(3))
        rates = [rate for rate, _ in runs]
        print(f"| {recipe} | {runs[0][1]} | {rates[1]:.0f} | {rates[0]:.0f} | {rates[2]:.0f} |")


if __name__ == "__main__":
    typer.run(main)
