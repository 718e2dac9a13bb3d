"""Trains or evaluates what a config describes.

python -m sr_jax.main --config=configs/edsr.py:x2,baseline,photos [--workdir=runs/edsr]

`sr-jax train` lists the recipes, and `sr-jax train RECIPE --show` prints the fields of one, each of
which --config.FIELD=VALUE changes.
"""

import json
import os
import re
import traceback
from pathlib import Path

# TensorFlow only feeds data: keep it quiet.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from absl import app, flags, logging

try:
    from ml_collections import ConfigDict, config_flags
except ModuleNotFoundError:
    raise SystemExit("error: this needs ml_collections: pip install 'sr-jax[train]'") from None

from sr_jax.commands.console import check_devices, log_to_terminal, run

# What takes long to import is imported where it is used: a wrong command line is answered at once.

FLAGS = flags.FLAGS
CONFIG = config_flags.DEFINE_config_file("config", help_string="Recipe, FILE[:ARGUMENT,...].")
flags.mark_flag_as_required("config")
WORKDIR = flags.DEFINE_string("workdir", None, "Default: runs/<config>-<arguments>.")
MODE = flags.DEFINE_enum(
    "mode", "train", ["train", "evaluate", "show"], "What to do; show: print all fields."
)
COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0, for several.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes there are.")
PROFILE = flags.DEFINE_bool("profile", False, "Write a trace of a few steps to WORKDIR/profile.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is.")


def main(_: object) -> None:
    """Sets up logging and processes, then trains or evaluates."""
    if not isinstance(CONFIG.value, ConfigDict):
        kind = type(CONFIG.value).__name__
        raise ValueError(f"get_config of the recipe returns a {kind}, expected a ConfigDict")
    if MODE.value == "show":
        import yaml

        print(yaml.safe_dump(json.loads(CONFIG.value.to_json())), end="")
        return
    log_to_terminal(warnings_only=bool(PROCESS_ID.value))
    recipe = config_flags.get_config_filename(FLAGS["config"])
    logging.info("%s: starting JAX", recipe)
    import jax

    from sr_jax import cluster
    from sr_jax.recipe import default_workdir, read_config
    from sr_jax.train import train

    cluster.initialize(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
    check_devices()
    log_to_terminal(warnings_only=jax.process_index() > 0)
    workdir = Path(WORKDIR.value or default_workdir(recipe))
    config = CONFIG.value
    changes = config_flags.get_override_values(FLAGS["config"])
    changed = ", ".join(f"{name} = {value}" for name, value in changes.items())
    logging.info("results in %s%s", workdir, f"; changed: {changed}" if changed else "")
    if MODE.value == "train":
        train(read_config(config), workdir, profile=PROFILE.value)
        return
    evaluate(config, workdir)


def evaluate(config: ConfigDict, workdir: Path) -> None:
    """Scores a run on the validation images of its config; files go to the workdir."""
    from sr_jax.commands.ledger import score_with_progress
    from sr_jax.commands.model import open_model
    from sr_jax.evaluation import report
    from sr_jax.evaluation.scoring import list_contenders
    from sr_jax.recipe import load_images

    opened = open_model(str(workdir), allow=(config.model.name,))
    if opened.note:
        logging.info("%s", opened.note)
    contenders = list_contenders((opened.model, opened.variables))
    validation = load_images(config, "validation")
    source, scales = config.data.source, config.data.scales
    scored = score_with_progress({source: validation}, scales, contenders)
    scores = []
    for key, _, result in scored:
        if isinstance(result, str):
            logging.warning("%s x%d cannot be scored: %s", key.image, key.scale, result)
        else:
            scores.append(result[0])
    if not scores:
        raise ValueError("no validation image could be scored")
    report.write_scores(workdir / "scores.json", scores)
    report.print_scores(scores, contenders)
    scored_on = {score.image for score in scores}
    images = [(source, pair) for pair in validation if pair.name in scored_on][:3]
    report.compare(workdir / "comparison.png", images, scales[0], contenders)


def parse_flags(arguments: list[str]) -> list[str]:
    """Parses the command line; errors inside a config file keep their message, not their trace."""
    given = [text.partition("=")[2] for text in arguments if re.match("--?config=", text)]
    if not any(re.match("--?help", text) for text in arguments):
        check_recipe(given[0] if given else "")
    try:
        return FLAGS(arguments)
    except AttributeError as error:
        reason = " ".join(str(error.args[0]).strip("'").replace("\\n", " ").split())
        reason = reason.replace("\\'", "'")
        if "get_config" in reason:
            raise ValueError(f"{given[0]} has no function get_config") from None
        raise ValueError(f"the config has no such field: {reason}") from error
    except flags.Error as error:
        reason = str(error)
        if "Traceback" in reason:
            reason = re.sub(r"^\w+: ", "", reason.strip().splitlines()[-1])
        raise ValueError(reason) from error
    except Exception as error:  # of the recipe's own code
        raise ValueError(_mistake(given[0].partition(":")[0], error)) from error


def _mistake(file: str, error: Exception) -> str:
    """Where in a recipe an error is, and what."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename.endswith(Path(file).name)]
    line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
    place = f"{file}, line {line}" if line else file
    return f"{place}: {type(error).__name__}: {error}"


def check_recipe(config: str) -> None:
    """Raises ValueError, with the recipes that there are, unless this names a config file."""
    path = Path(config.partition(":")[0])
    if path.is_file():
        return
    folder = path.parent if path.parent.is_dir() and config else Path("configs")
    known = [str(found) for found in sorted(folder.glob("[!_]*.py"))]
    there = f"there are {', '.join(known)}" if known else "there is none in configs/"
    there += "; `sr-jax train` lists those of the package"
    asked = f"no recipe {path}" if config else "give --config=FILE[:ARGUMENT,...]"
    raise ValueError(f"{asked}; {there}")


if __name__ == "__main__":
    run(lambda: app.run(main, flags_parser=parse_flags))
