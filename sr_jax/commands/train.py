"""`sr-jax train`: a recipe by name, for which `python -m sr_jax.main` takes this one's place."""

import ast
import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="NAME[:ARGUMENT,...] or FILE.py[:ARGUMENT,...]; without it, they are listed.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of images, or of pairs, to train on.")
    ] = None,
    workdir: Annotated[
        Path | None, typer.Option(help="Where all results go; by default runs/RECIPE-ARGUMENTS.")
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Cut down to under a minute, to see that all works.")
    ] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="FIELD=VALUE, such as train.steps=1000; may be repeated.", metavar="TEXT"
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print all fields of the recipe, and train nothing.")
    ] = False,
) -> None:
    """Trains a network by a recipe; the same command goes on after an interruption."""
    from sr_jax.configuration import recipe_files

    files = recipe_files()
    if recipe is None:
        _list(files)
        return
    name, _, given = recipe.partition(":")
    words = [given, *(["smoke"] if smoke else []), *([f"folder={data}"] if data else [])]
    if data and "folder=" in given:
        raise ValueError(f"{recipe} names a folder, and --data another: give one of the two")
    if data and not data.is_dir():
        raise ValueError(f"--data {data} is no folder")
    if name not in files and not name.endswith(".py"):
        raise ValueError(
            f"no recipe {name!r}; there are {', '.join(files)}, or give a file NAME.py"
        )
    config = f"{files.get(name, name)}:{','.join(filter(None, words))}".rstrip(":")
    arguments = [f"--config={config}", *([f"--workdir={workdir}"] if workdir else [])]
    arguments += ["--mode=show"] if show else []
    for change in changes or []:
        field, equals, _ = change.partition("=")
        if not (field and equals):
            raise ValueError(f"--set {change}: expected FIELD=VALUE, such as train.steps=1000")
        arguments.append(f"--config.{change}")
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "sr_jax.main", *arguments])


def _list(files: dict[str, Path]) -> None:
    """The recipes, what they train on by default, and for how long."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from sr_jax.configuration import load_recipe

    table = Table("recipe", "what it trains", "data", "updates", box=box.SIMPLE_HEAD)
    for name, path in files.items():
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        config = load_recipe(name)
        updates = f"{config.train.steps:,}"
        table.add_row(name, re.split(r"[:\n]", text)[0], config.data.source, updates)
    Console().print(table)
    print(
        "sr-jax train NAME --smoke         try one, under a minute, without a download\n"
        "sr-jax train NAME --data FOLDER   on images of your own\n"
        "sr-jax train NAME --show          its fields, which --set FIELD=VALUE changes"
    )
