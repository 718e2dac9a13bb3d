"""Which images the arguments of a command name, and what the results will be called."""

import collections
import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_LONGEST_NAME = 255  # bytes, of most file systems


class Found(NamedTuple):
    """What the arguments of a command name.

    Attributes:
        files: image -> its name in the output folder.
        problems: arguments that name no image, a line each.
        left_out: what lies in the folders and is no image, a line each.
        stamps: of images at addresses, see `sr_jax.scale.places`.
    """

    files: dict[Path, Path]
    problems: list[str]
    left_out: list[str]
    stamps: dict[Path, str]


def find_images(inputs: Sequence[Path], output: Path | None) -> Found:
    """The images that the arguments name, also at addresses such as s3://bucket/folder.

    Folders keep their inner structure; what they hold of the output folder is not looked at.
    """
    from sr_jax.imaging.listing import list_files
    from sr_jax.scale import places

    found = Found({}, [], [], {})
    seen: set[str] = set()

    def add(path: Path, name: Path) -> None:  # once, however it is spelled
        place = os.path.realpath(path)
        if place not in seen:
            seen.add(place)
            found.files[path] = name

    for given in inputs:
        address = places.locate(given) if places.is_address(given) else ""
        if address and glob.has_magic(address):
            matched = places.match_files(address)
            found.stamps.update(matched)
            if not matched:
                found.problems.append(f"no file matches {address}")
            for path in matched:
                add(path, Path(path.name))
        elif address or given.is_dir():
            results = os.path.realpath(output) if output else ""
            if not results.startswith(os.path.join(os.path.realpath(given), "")):
                results = ""
            try:
                listing, stamps = places.list_files(address) if address else (list_files(given), {})
            except ValueError as error:
                found.problems.append(str(error))
                continue
            found.stamps.update(stamps)
            if left_out := listing.left_out():
                found.left_out.append(f"{address or given}: {left_out}")
            if not listing.images:
                found.problems.append(f"{address or given} holds no image")
            for path in listing.images:
                if not (results and os.path.realpath(path).startswith(results + os.sep)):
                    add(path, path.relative_to(given) if path != given else Path(path.name))
        elif glob.has_magic(str(given)) and not os.path.lexists(given):
            # A pattern in quotation marks, which the shell has not replaced.
            matches = [Path(match) for match in sorted(glob.glob(str(given), recursive=True))]
            matches = [match for match in matches if not match.is_dir()]
            if not matches:
                found.problems.append(f"no file matches {given}")
            for path in matches:
                add(path, Path(path.name))
        else:
            add(given, Path(given.name))
    return found


def is_file_name(output: Path) -> bool:
    """Whether an `--output` is the name of one image and not a folder."""
    from sr_jax.imaging.files import WRITTEN

    return output.suffix.lower() in WRITTEN and not output.is_dir()


def name_outputs(
    files: dict[Path, Path], output: Path, suffix: str, kind: str
) -> tuple[dict[Path, Path], dict[Path, str]]:
    """Input file -> output file; and input file -> why it cannot have one, a line each.

    Files that differ in their suffixes alone keep these: a.jpg and a.png become a.jpg.png and
    a.png.png.

    Args:
        files: image -> its name in the output folder.
        output: the folder, or the name of the only result.
        suffix: comes after the names.
        kind: of the files, e.g. ".png".

    Raises:
        ValueError: an output folder or a suffix that cannot be one.
    """
    if is_file_name(output):
        if len(files) != 1:
            raise ValueError(
                f"--output {output} names one image, but {len(files)} are given: name a folder, "
                f"and with --format how its files end"
            )
        if suffix:
            raise ValueError(f"--suffix is for folders, but --output {output} names one image")
        files, kind = dict.fromkeys(files, Path(output.name)), output.suffix
        output = output.parent
    if output.exists() and not output.is_dir():
        raise ValueError(f"--output {output} is a file, expected a folder")
    if os.sep in suffix:
        raise ValueError(f"--suffix is {suffix!r}, expected part of a file's name")
    originals = {os.path.realpath(path): path for path in files}
    folders = {name: os.path.realpath((output / name).parent) for name in files.values()}
    stems = collections.Counter((folders[name], name.stem) for name in files.values())
    sources: dict[str, Path] = {}
    targets: dict[Path, Path] = {}
    problems: dict[Path, str] = {}
    for path, name in files.items():
        stem = name.stem if stems[folders[name], name.stem] == 1 else name.name
        target = output / name.with_name(f"{stem}{suffix}{kind}")
        place = os.path.realpath(target)
        replaced = originals.get(place, path)
        if replaced != path:
            problems[path] = (
                f"the output of {path} would replace the input {replaced}: give another --output "
                "or --suffix"
            )
        elif len(os.fsencode(target.name)) > _LONGEST_NAME:
            problems[path] = f"cannot upscale {path}: the name of its output is too long"
        elif place in sources:
            problems[path] = (
                f"{sources[place]} and {path} would both become {target}: only the first does, "
                "give the other one another --output"
            )
        else:
            sources[place] = path
            targets[path] = target
    return targets, problems


def leave_out_results(
    files: dict[Path, Path], suffix: str, kind: str
) -> tuple[dict[Path, Path], list[str]]:
    """Files that are not the results of others beside them, and a line for each that is.

    So a pattern that matches the results of an earlier run does not upscale them again.
    """
    known = {os.path.realpath(path) for path in files}
    results = {}
    for path in files:
        for stem in (path.stem, path.name):
            result = os.path.realpath(path.with_name(f"{stem}{suffix}{kind}"))
            if result in known and result != os.path.realpath(path):
                results[result] = path
    kept = {p: name for p, name in files.items() if os.path.realpath(p) not in results}
    told = [
        f"{path}, the result of {results[os.path.realpath(path)]}"
        for path in files
        if path not in kept
    ]
    return kept, told
