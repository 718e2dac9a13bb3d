"""`sr-jax export`: a network for programs other than this one."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from sr_jax.commands.model import Allow, Step, open_model

SUFFIXES = (".stablehlo", ".onnx")


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="A network that comes with sr_jax, a weights file, a training workdir or a "
            "published checkpoint."
        ),
    ],
    output: Annotated[Path, typer.Argument(help="A .stablehlo or an .onnx file.")],
    scale: Annotated[
        int | None, typer.Option(help="Of a network with several scales, the one to export.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHTxWIDTH",
            help="Of the images, for programs that want a fixed one. SAN and CSNLN need it; all "
            "others take any size by default.",
        ),
    ] = None,
    step: Step = None,
    allow: Allow = None,
    overwrite: Annotated[bool, typer.Option(help="Replace files that exist.")] = False,
) -> None:
    """Writes a network, weights inside, as StableHLO (CPU, CUDA and TPU in one file) or as ONNX.

    The file is run and compared with the network before it is kept. A .json beside a .stablehlo
    file, and the metadata of an .onnx file, say what the network is and takes.
    """
    from sr_jax.export.exported import FORMAT, facts_path

    kind = output.suffix.lower()
    if kind not in SUFFIXES:
        raise ValueError(f"cannot write {output}: the name must end in {' or '.join(SUFFIXES)}")
    if output.is_dir():
        raise ValueError(f"{output} is a folder: give a file's name")
    written = [output] if kind == ".onnx" else [output, facts_path(output)]
    for path in written:
        if path.exists() and not overwrite:
            raise ValueError(f"{path} exists: give --overwrite, or another name")
    sides = _parse_size(size)
    if kind == ".onnx":
        import onnx  # noqa: F401  that they are missing is told before any work
        import onnxruntime  # noqa: F401

    opened = open_model(model, allow=allow or (), step=step)
    if opened.note:
        print(opened.note)
    from sr_jax.export.program import make_program
    from sr_jax.storage import write_bytes

    program = make_program(opened.model, opened.variables, scale=scale, size=sides)
    if kind == ".onnx":
        from sr_jax.export.onnx import OPSET, to_onnx

        content, difference = to_onnx(program)
        what = f"ONNX, opset {OPSET}"
    else:
        from sr_jax.export.stablehlo import PLATFORMS, to_stablehlo

        content, difference = to_stablehlo(program)
        what = f"StableHLO for {', '.join(PLATFORMS)}"
    facts = program.facts
    write_bytes(output, content)
    if kind == ".stablehlo":
        told = {"format": FORMAT, **facts, "platforms": PLATFORMS}
        try:
            write_bytes(facts_path(output), (json.dumps(told, indent=1) + "\n").encode())
        except OSError:
            output.unlink()  # neither is of use alone
            raise
    scales = f" x{facts['scale']}" if facts["scale"] else ""
    sizes = f"{sides[0]}x{sides[1]} pixels" if sides else "any size"
    print(f"{output}: {facts['architecture']}{scales}, {sizes}; {what}; {len(content):,} bytes")
    print(f"greatest difference from the network: {difference}")


def _parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text.strip().lower())
    if not match:
        raise ValueError(f"--size is {text}, expected HEIGHTxWIDTH, such as 128x96")
    return int(match[1]), int(match[2])
