"""Which images the arguments of a command name, and what the results will be called."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path


def find_images(inputs: Sequence[Path], output: Path) -> tuple[dict[Path, Path], list[str]]:
    """The images that the arguments name, each with its name in the output folder.

    Folders keep their inner structure; what they hold of the output folder is passed over. The
    second result tells which arguments name no image.
    """
    from sr_jax.imaging.listing import list_images

    files: dict[Path, Path] = {}
    problems = []
    for given in inputs:
        if given.is_dir():
            results = os.path.realpath(output)
            if not results.startswith(os.path.join(os.path.realpath(given), "")):
                results = ""
            try:
                found = list_images(given)
            except ValueError as error:
                problems.append(str(error))
                continue
            for path in found:
                if not (results and os.path.realpath(path).startswith(results + os.sep)):
                    files.setdefault(path, path.relative_to(given))
        elif glob.has_magic(str(given)) and not os.path.lexists(given):
            # A pattern in quotation marks, which the shell has not replaced.
            matches = [Path(match) for match in sorted(glob.glob(str(given), recursive=True))]
            matches = [match for match in matches if not match.is_dir()]
            if not matches:
                problems.append(f"no file matches {given}")
            for path in matches:
                files.setdefault(path, Path(path.name))
        else:
            files.setdefault(given, Path(given.name))
    return files, problems


def name_outputs(files: dict[Path, Path], output: Path, suffix: str) -> dict[Path, Path]:
    """Input file -> output file; refused if two are one, or one would replace another input."""
    if output.exists() and not output.is_dir():
        raise ValueError(f"--output {output} is a file, expected a folder")
    if os.sep in suffix:
        raise ValueError(f"--suffix is {suffix!r}, expected part of a file's name")
    originals = {os.path.realpath(path): path for path in files}
    sources: dict[Path, Path] = {}
    for path, name in files.items():
        target = output / name.with_name(f"{name.stem}{suffix}.png")
        first = sources.setdefault(target, path)
        if first != path:
            raise ValueError(f"{first} and {path} would both become {target}")
        replaced = originals.get(os.path.realpath(target), path)
        if replaced != path:
            raise ValueError(
                f"the output of {path} would replace the input {replaced}: give another --output "
                "or --suffix"
            )
    return {path: target for target, path in sources.items()}
