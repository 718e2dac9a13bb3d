"""`sr-jax`, which is also `python -m sr_jax`."""

from typing import Annotated

import typer

from sr_jax import __version__
from sr_jax.commands.console import run
from sr_jax.commands.convert import convert
from sr_jax.commands.evaluate import evaluate
from sr_jax.commands.export import export
from sr_jax.commands.many import RayCommand
from sr_jax.commands.models import models
from sr_jax.commands.runs import runs
from sr_jax.commands.train import train
from sr_jax.commands.upscale import upscale
from sr_jax.commands.view import view

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
for command in (upscale, train, runs, evaluate, convert, export, models, view):
    app.command(cls=RayCommand)(command)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"sr_jax {__version__}")
        raise typer.Exit


@app.callback(help="Super-resolution networks in JAX: train, evaluate, upscale.")
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print it.")
    ] = False,
) -> None: ...


def main() -> None:
    """The entry point of the console script."""
    run(app)


if __name__ == "__main__":
    main()
