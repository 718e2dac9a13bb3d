"""The console script `sr-jax`: upscale, evaluate, convert, models."""

import typer

from sr_jax.console import run
from sr_jax.convert import convert
from sr_jax.evaluate import evaluate
from sr_jax.upscale import upscale

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(upscale)
app.command()(evaluate)
app.command()(convert)


@app.command()
def models() -> None:
    """Lists the known architectures."""
    import rich
    import rich.table

    from sr_jax.models import ARCHITECTURES, count_parameters, create_model, network_scales
    from sr_jax.weights import variable_shapes

    table = rich.table.Table("name", "parameters", "scales", "input")
    for name in ARCHITECTURES:
        model = create_model(name)
        scales = network_scales(model)
        channels = "luma" if model.n_colors == 1 else "RGB"
        table.add_row(
            name,
            f"{count_parameters(variable_shapes(model)):,}",
            "any" if scales is None else ", ".join(map(str, scales)) or "none",
            f"{channels}, interpolated" if model.takes_interpolated else channels,
        )
    rich.get_console().print(table)


def main() -> None:
    """The entry point of the console script."""
    run(app)


if __name__ == "__main__":
    main()
