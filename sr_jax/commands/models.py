"""`sr-jax models`: the networks that come with sr_jax, and those that can be made."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sr_jax.commands.model import Allow, open_model

if TYPE_CHECKING:
    from rich.table import Table

    from sr_jax.pretrained import Card


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Of a network that comes with sr_jax: prints its card. With --card whatever "
            "--model takes elsewhere."
        ),
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(help="Write a model card for the Hugging Face Hub there, as README.md."),
    ] = None,
    allow: Allow = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a card that exists.")] = False,
) -> None:
    """Lists the trained networks that come with sr_jax, and all known architectures.

    PSNR is in dB on the luma, beside that of bicubic interpolation. Multiply-adds are of one RGB
    (or luma) image of 1280x720 pixels at the first scale.
    """
    import rich

    from sr_jax import pretrained

    cards = pretrained.cards()
    if card:
        if name is None:
            raise ValueError("--card is of one network: name it, as in `sr-jax models NAME --card`")
        if card.exists() and not overwrite:
            raise ValueError(f"{card} exists: give --overwrite, or another name")
        _write_card(name, card, allow or ())
        return
    if allow or overwrite:
        raise ValueError("--allow and --overwrite are for --card")
    if name is not None:
        if name not in cards:
            raise ValueError(
                f"no network {name} comes with sr_jax; there are {', '.join(cards)}. Of another "
                "network --card FILE writes a card"
            )
        _print_card(cards[name])
        return
    console = rich.get_console()
    console.print(_shipped(list(cards.values())))
    console.print(
        "for: clean images, or photographs with noise and JPEG; scores of the latter are on JPEG "
        "of quality 75. Any name above is a --model.\n"
    )
    console.print(_architectures())
    print("radius: input pixels that a pixel depends on; *: of an interpolated image")


def _write_card(name: str, path: Path, allow: Sequence[str]) -> None:
    from sr_jax import pretrained
    from sr_jax.modelcard import model_card
    from sr_jax.storage import write_bytes

    opened = open_model(name, allow=allow)
    if opened.note:
        print(opened.note)
    text = model_card(opened.model, opened.variables, pretrained.cards().get(name))
    write_bytes(path, text.encode())
    print(f"{path}: the card of {name}, for `hf upload`")


def _table(columns: dict[str, Literal["left", "right"]]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column, side in columns.items():
        table.add_column(column, justify=side, no_wrap=True)
    return table


def _shipped(cards: "list[Card]") -> "Table":
    columns: dict[str, Literal["left", "right"]] = {"trained": "left", "for": "left"}
    columns |= {"scale": "left", "parameters": "right", "MB": "right", "Set5": "right"}
    columns |= {"bicubic": "right", "Set14": "right"}
    table = _table(columns)
    for card in cards:
        for scale in card.scales:
            scores = {score.dataset: score for score in card.scores if score.scale == scale}
            after = " JPEG 75" if card.kind == "photo" else ""
            table.add_row(
                card.name,
                "clean" if card.kind == "bicubic" else "JPEG",
                f"x{scale}",
                f"{card.parameters:,}",
                f"{card.path.stat().st_size / 1e6:.1f}",
                f"{scores[f'Set5{after}'].psnr:.2f}",
                f"{scores[f'Set5{after}'].bicubic:.2f}",
                f"{scores[f'Set14{after}'].psnr:.2f}",
            )
    return table


def _print_card(card: "Card") -> None:
    import rich

    console = rich.get_console()
    size = card.path.stat().st_size
    lines = {
        "network": f"{card.architecture}, {card.parameters:,} parameters, {size:,} bytes",
        "scales": ", ".join(f"x{scale}" for scale in card.scales),
        "data": card.data,
        "recipe": card.recipe,
        "command": card.command,
        "training": card.training,
        "limits": card.limits,
        "file": str(card.path),
    }
    console.print(card.name)
    for title, text in lines.items():
        console.print(f"  {title}: {text}", markup=False, highlight=False, soft_wrap=True)
    columns: dict[str, Literal["left", "right"]] = {"data set": "left", "scale": "left"}
    columns |= {"PSNR": "right", "SSIM": "right", "bicubic": "right", "paper": "right"}
    table = _table(columns)
    for score in card.scores:
        table.add_row(
            score.dataset,
            f"x{score.scale}",
            f"{score.psnr:.2f}",
            f"{score.ssim:.4f}",
            f"{score.bicubic:.2f}",
            f"{score.paper:.2f}" if score.paper else "-",
        )
    console.print(table)


def _architectures() -> "Table":
    from sr_jax.models import ARCHITECTURES, count_parameters, create_model
    from sr_jax.models import multiply_adds as count_multiply_adds
    from sr_jax.weights import variable_shapes

    columns: dict[str, Literal["left", "right"]] = {"architecture": "left", "parameters": "right"}
    columns |= {"scales": "left", "input": "left", "radius": "right", "multiply-adds": "right"}
    table = _table(columns)
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
    return table
