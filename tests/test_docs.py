"""What the pages say is there: commands, options, recipes, fields, targets, files, figures.

Commands are parsed and not run; the Python of the pages is run with a small network.
"""

import itertools
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
import typer
from PIL import Image

import sr_jax
from sr_jax import main as program
from sr_jax.__main__ import app
from sr_jax.configuration import get_defaults, load_recipe, recipe_files
from sr_jax.evaluation.published import published
from sr_jax.models import count_parameters
from sr_jax.weights import variable_shapes

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"
PAGES = (README, REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md")))
COMMANDS = typer.main.get_command(app).commands
SHELLS = ("", "bash", "sh", "console")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """Code on a page: its language ("" if indented), its text, and its first line's number."""

    language: str
    text: str
    line: int


def blocks(text):
    """The fenced code of a page, and each paragraph of the indented code."""
    lines = text.splitlines()
    found, at = [], 0
    while at < len(lines):
        fence, start = re.match("```(.*)", lines[at]), at
        if fence:
            at = lines.index("```", at + 1)
            found.append(Block(fence[1], "\n".join(lines[start + 1 : at]), start + 2))
        elif lines[at].startswith("    ") and not lines[at - 1].strip():
            while at < len(lines) and lines[at].startswith("    "):
                at += 1
            found.append(Block("", "\n".join(lines[start:at]), start + 1))
        at += 1
    return found


class Command(NamedTuple):
    """A command on a page, and what the page says that it prints if that is an error."""

    words: list[str]
    error: str


def programs(line):
    """The commands of sr_jax and make in a line of a shell, whatever starts them."""
    parts = [[]]
    for word in shlex.split(line, comments=True):
        parts = [*parts, []] if word == "&&" else [*parts[:-1], [*parts[-1], word]]
    for words in parts:
        for at, word in enumerate(words):
            if word.startswith("--command="):  # what another machine is told
                yield from programs(word.partition("=")[2])
            elif word == "-m" and words[at + 1 : at + 2] == ["sr_jax"]:
                yield ["sr-jax", *words[at + 2 :]]
            elif word == "-m" and words[at + 1 : at + 2] == ["sr_jax.main"]:
                yield words[at + 1 :]
        if words[:1] in (["sr-jax"], ["make"]):
            yield words


def commands(text):
    """The commands of a page."""
    for block, below in itertools.pairwise([*blocks(text), Block("", "", -1)]):
        if block.language not in SHELLS or block.text.strip().startswith("error:"):
            continue
        adjacent = below.line == block.line + len(block.text.splitlines()) + 1
        printed = " ".join(below.text.split()) if adjacent else ""
        error = printed if printed.startswith("error:") else ""
        for line in re.sub(r"\\\n\s*", " ", block.text).splitlines():
            if re.search(r"sr-jax|sr_jax|make ", line):
                for words in programs(line.strip().removeprefix("$ ")):
                    yield Command(words, error)


def shell_commands():
    for page in PAGES:
        for number, command in enumerate(commands(page.read_text())):
            name = f"{page.relative_to(REPOSITORY)}-{number}-{command.words[0]}"
            yield pytest.param(command, id=name)


def check_recipe(recipe, changes, error):
    """The recipe is there, takes these arguments and has these fields; or the page says not so."""
    name, _, arguments = recipe.partition(":")
    if name.endswith(".py"):
        path = Path(name)
        if path.stem not in recipe_files():
            assert path.parent == Path(), f"no recipe {name}"  # one of the reader's own
            return
        name = path.stem
    if error.startswith(("error: no recipe", "error: ValueError")):
        with pytest.raises(ValueError, match=r"\w") as caught:
            load_recipe(name, arguments)
        assert " ".join(str(caught.value).split()) in error
        return
    config = load_recipe(name, arguments)
    for change in changes:
        field = config
        for part in change.partition("=")[0].split("."):
            if part not in field:
                assert part in error, f"{recipe} has no field {change}"
                return
            field = field[part]


def check_sr_jax(arguments, error=""):
    name, *rest = arguments
    assert name in COMMANDS, f"sr-jax has no command {name}"
    given = COMMANDS[name].make_context(name, rest)
    if name == "train" and given.params["recipe"]:
        folder = "folder=PATH" if given.params["data"] else ""
        recipe, _, words = given.params["recipe"].partition(":")
        smoke = "smoke" if given.params["smoke"] else ""
        words = ",".join(filter(None, (words, smoke, folder)))
        check_recipe(f"{recipe}:{words}", given.params["changes"] or (), error)


def check_main(arguments):
    recipe, changes = "", []
    for argument in arguments:
        assert argument.startswith("--"), f"{argument} is no flag"
        flag, _, value = argument[2:].partition("=")
        if flag == "config":
            recipe = value
        elif flag.startswith("config."):
            changes.append(f"{flag.removeprefix('config.')}={value}")
        else:
            assert flag in program.FLAGS, f"sr_jax.main has no flag --{flag}"
            if value and program.FLAGS[flag].flag_type() == "string enum":
                assert value in program.FLAGS[flag].parser.enum_values
    assert recipe, "--config is missing"
    if recipe != "...":
        check_recipe(recipe, changes, "")


def check_make(arguments):
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = re.findall(r"^([\w-]+):", makefile, re.MULTILINE)
    for argument in arguments:
        variable, equals, _ = argument.partition("=")
        if equals:
            assert re.search(rf"^{variable} \?=", makefile, re.MULTILINE), f"no {variable} in make"
        else:
            assert argument in targets, f"make has no target {argument}"


def check(command):
    name, *arguments = command.words
    if name == "make":
        check_make(arguments)
    elif name == "sr-jax":
        check_sr_jax(arguments, command.error)
    else:
        check_main(arguments)


@pytest.mark.parametrize("command", list(shell_commands()))
def test_a_command_is_as_the_program_takes_it(command):
    check(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_commands_within_sentences_have_these_options(page):
    for span in re.findall(r"`(sr-jax [^`]+)`", page.read_text()):
        _, name, *words = shlex.split(span)
        assert name in COMMANDS, span
        known = {"--help"}
        for parameter in COMMANDS[name].params:
            known |= {*parameter.opts, *parameter.secondary_opts}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, span


@pytest.mark.parametrize(
    "wrong",
    [
        "sr-jax upscaled photo.jpg",
        "sr-jax upscale photo.jpg --modle runs/demo",
        "sr-jax upscale photo.jpg --format gif",
        "sr-jax evaluate --model runs/demo Set5",
        "sr-jax train edsr:x5",
        "sr-jax train edsrr",
        "sr-jax train edsr --set train.stepz=3",
        "python -m sr_jax.main --config=configs/edsrr.py",
        "python -m sr_jax.main --config=configs/edsr.py:x5",
        "python -m sr_jax.main --config=configs/edsr.py --config.train.stepz=3",
        "python -m sr_jax.main --config=configs/edsr.py --wordkir=runs",
        "python -m sr_jax.main --config=configs/edsr.py --mode=score",
        "make demos",
        "make demo ACCELERATORS=cpu",
    ],
)
def test_a_wrong_command_would_be_seen(wrong):
    (command,) = commands(f"Text.\n\n    {wrong}  # why\n")
    with pytest.raises(Exception, match=r"\w"):
        check(command)


def test_blocks_and_continued_lines_are_found():
    page = (
        "A.\n\n    make demo\n    sr-jax a \\\n      --b c  # d\n\nB.\n\n    python -m sr_jax e\n"
    )
    assert [command.words for command in commands(page)] == [
        ["make", "demo"],
        ["sr-jax", "a", "--b", "c"],
        ["sr-jax", "e"],
    ]


def anchors(page):
    """What can stand behind a # in a link to a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page):
    text = page.read_text()
    for block in blocks(text):
        text = text.replace(block.text, "")
    for link in LINK.findall(text):
        if re.match(r"https?:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), f"{link}: there is no {target}"
        assert target.is_relative_to(REPOSITORY), link
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


def test_the_readme_is_short():
    text = README.read_text()
    assert len(text.splitlines()) <= 100
    assert len(text.split()) <= 700


def rows(text, first):
    """The cells of a table, by its first heading."""
    table = text[text.index(f"| {first} |") :].partition("\n\n")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]


def test_the_nine_are_as_the_package_has_them():
    names = {"SRCNN 9-5-5": "srcnn_955", "SRGAN": "srgan_generator"}
    table = rows(README.read_text(), "network")
    assert len(table) == 9
    for network, parameters, scales, _, *scores in table:
        name = names.get(network, network.lower())
        count = count_parameters(variable_shapes(sr_jax.create_model(name)))
        assert parameters == f"{count:,}", network
        for scale, score in zip((2, 4), scores, strict=True):
            figure = published(name, "Set5", scale)
            assert score == (f"{figure.psnr:.2f}" if figure else "-"), f"{network} x{scale}"
        recipe = name.partition("_")[0]
        for scale in map(int, scales.split(",")):
            trained = load_recipe(recipe).data.scales
            assert scale in trained or load_recipe(recipe, f"x{scale}").data.scales == (scale,)


def test_tables_of_recipes_and_fields():
    text = (REPOSITORY / "docs" / "training.md").read_text()
    table = rows(text, "recipe")
    assert {LINK.search(row[0])[1] for row in table} == {
        f"../configs/{name}.py" for name in recipe_files()
    }
    for recipe, _, _, updates in table:
        name = Path(LINK.search(recipe)[1]).stem
        assert updates == f"{load_recipe(name).train.steps:,}", name
    for field, default, _ in rows(text, "field"):
        section, _, name = field.strip("`").rpartition(".")
        value = (get_defaults()[section] if section else get_defaults())[name]
        words = default.replace(",", "")
        same = str(value).lower() == words or (isinstance(value, float) and float(words) == value)
        assert same, f"{field} is {value}"


SNIPPETS = [
    pytest.param(block.text, id=f"{page.relative_to(REPOSITORY)}-{block.line}")
    for page in PAGES
    if page.name != "CONTRIBUTING.md"  # test_outside.py runs that
    for block in blocks(page.read_text())
    if block.language == "python"
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the files that the pages speak of."""
    folder = tmp_path_factory.mktemp("home")
    model = sr_jax.create_model("edsr_baseline", scale=2, n_resblocks=1, n_feats=4)
    variables = model.init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
    for run in ("demo", "mine"):
        sr_jax.save(folder / "runs" / run / "weights.safetensors", model, variables)
    Image.new("RGB", (16, 12)).save(folder / "photo.jpg")
    return folder


@pytest.mark.parametrize("code", SNIPPETS)
def test_python_of_the_pages_runs(code, home, monkeypatch):
    monkeypatch.chdir(home)
    names = {name: np.zeros((20, 24, 3), np.uint8) for name in ("image", "reference")}
    exec(code, names)
    if "upscaler" in names and "large" in names:
        assert names["large"].shape == (40, 48, 3)
