"""`sr-jax`, which is also `python -m sr_jax`."""

import typer

from sr_jax.commands.console import run
from sr_jax.commands.convert import convert
from sr_jax.commands.evaluate import evaluate
from sr_jax.commands.models import models
from sr_jax.commands.train import train
from sr_jax.commands.upscale import upscale

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for command in (upscale, train, evaluate, convert, models):
    app.command()(command)


def main() -> None:
    """The entry point of the console script."""
    run(app)


if __name__ == "__main__":
    main()
