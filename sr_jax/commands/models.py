"""`sr-jax models`: the table of the networks."""

from typing import Literal

_NUMBERS = ("parameters", "radius", "multiply-adds")


def models() -> None:
    """Lists the known architectures: size, scales, input, and what an upscaled image costs.

    Multiply-adds are of one RGB (or luma) image of 1280x720 pixels at the first scale.
    """
    import rich
    from rich import box
    from rich.table import Table

    from sr_jax.models import ARCHITECTURES, count_parameters, create_model
    from sr_jax.models import multiply_adds as count_multiply_adds
    from sr_jax.weights import variable_shapes

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("name", "parameters", "scales", "input", "radius", "multiply-adds"):
        side: Literal["left", "right"] = "right" if column in _NUMBERS else "left"
        table.add_column(column, justify=side, no_wrap=True)
    for name in ARCHITECTURES:
        model = create_model(name)
        scales = model.known_scales
        channels = "luma" if model.n_colors == 1 else "RGB"
        radius, cost = model.receptive_radius, "-"
        if scales != ():
            scale = scales[0] if scales else 1
            total = count_multiply_adds(model, 720 // scale, 1280 // scale, scale)
            cost = f"{total / 1e9:,.1f} G"
        table.add_row(
            name,
            f"{count_parameters(variable_shapes(model)):,}",
            "any" if scales is None else ", ".join(map(str, scales)) or "none",
            f"{channels}*" if model.takes_interpolated else channels,
            str(radius) if radius is not None else "-" if scales == () else "whole",
            cost,
        )
    rich.get_console().print(table)
    print("radius: input pixels that a pixel depends on; *: of an interpolated image")
