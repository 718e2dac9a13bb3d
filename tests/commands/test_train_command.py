"""`sr-jax train`: recipes by name, from any folder."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from processes import photos

from sr_jax import main as program
from sr_jax.commands.train import train
from sr_jax.configuration import load_recipe, recipe_files

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_recipe_by_name_trains_from_any_folder(tmp_path):
    changes = ["train.steps=2", "data.batch_size=2", "model.n_feats=4", "data.placement=device"]
    command = [sys.executable, "-m", "sr_jax", "train", "edsr:x3", "--smoke"]
    command += ["--data", photos(), *(word for field in changes for word in ("--set", field))]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (workdir,) = (tmp_path / "runs").iterdir()
    assert workdir.name.startswith("edsr-x3-smoke-folder-")
    assert (workdir / "weights.safetensors").exists()


def test_without_a_recipe_they_are_listed(capsys):
    train()
    listed = capsys.readouterr().out
    files = {path.stem for path in (REPOSITORY / "configs").glob("[!_]*.py")}
    assert set(recipe_files()) == files
    for name in files:
        assert f"  {name} " in listed
    assert max(map(len, listed.splitlines())) <= 80


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "esdr"}, r"no recipe 'esdr'; there are csnln, .*edsr, .* or give a file"),
        ({"recipe": "edsr", "data": Path("/no/such")}, "--data /no/such is no folder"),
        ({"recipe": "edsr", "changes": ["train.steps"]}, "--set train.steps: expected FIELD=VALUE"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        train(**options)


def test_fields_are_shown_as_they_would_be_trained():
    command = [sys.executable, "-m", "sr_jax", "train", "vdsr:photos", "--show"]
    command += ["--set", "optimizer.learning_rate=0.05"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "learning_rate: 0.05" in shown
    assert "depth: 20" in shown


def test_what_takes_its_place(monkeypatch):
    called = []
    monkeypatch.setattr("os.execv", lambda *arguments: called.append(arguments))
    train("mine.py:x2", workdir=Path("w"), smoke=True, changes=["train.steps=2", "seed=1"])
    words = ["--config=mine.py:x2,smoke", "--workdir=w", "--config.train.steps=2"]
    words.append("--config.seed=1")
    assert called == [(sys.executable, [sys.executable, "-m", "sr_jax.main", *words])]


def test_unknown_recipes_and_arguments_of_the_library():
    with pytest.raises(ValueError, match="no recipe 'esdr'; there are csnln"):
        load_recipe("esdr")
    with pytest.raises(ValueError, match="unknown config argument 'x9'"):
        load_recipe("edsr", "x9")


def test_requirements_are_those_of_the_package_and_its_extras():
    """requirements.txt is all that a training may need; the package asks for less."""

    def names(lines):
        found = (line.partition("#")[0].replace('"', "'").strip() for line in lines)
        return {line for line in found if line}

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = set(project["dependencies"])
    for extra in ("train", "div2k", "hub", "keras", "plots"):
        asked |= {name for name in extras[extra] if not name.startswith("sr-jax[")}
    listed = names((REPOSITORY / "requirements.txt").read_text().splitlines())
    assert {name.partition(";")[0] for name in listed} == {n.partition(";")[0] for n in asked}


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections
@pytest.mark.parametrize(
    ("content", "message"),
    [
        # First, as the process remembers a get_config.
        ("x = 1", "mine.py has no function get_config"),
        ("x = (", "mine.py, line 1: SyntaxError"),
        ("import nothing_here", "mine.py, line 1: ModuleNotFoundError"),
        ("def get_config():\n    return {}['x']", "mine.py, line 2: KeyError: 'x'"),
    ],
)
def test_a_mistake_in_a_recipe_of_ones_own_is_a_line(content, message, tmp_path):
    recipe = tmp_path / "mine.py"
    recipe.write_text(content)
    with pytest.raises(ValueError, match=message):
        program.parse_flags(["main", f"--config={recipe}"])


def test_a_folder_that_is_named_twice():
    with pytest.raises(ValueError, match="names a folder, and --data another"):
        train("edsr:folder=a", data=Path())
