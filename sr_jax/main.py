"""Trains or evaluates what a config describes.

python -m sr_jax.main --config=configs/edsr.py:x2,baseline,photos [--workdir=runs/edsr]
"""

import os
from pathlib import Path

# TensorFlow only feeds data: keep it quiet.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import jax
from absl import app, flags, logging
from ml_collections import config_flags

from sr_jax import cluster
from sr_jax.commands.console import log_to_terminal, run
from sr_jax.commands.evaluate import score_with_progress
from sr_jax.commands.model import open_model
from sr_jax.evaluation import report
from sr_jax.evaluation.scoring import list_contenders
from sr_jax.recipe import default_workdir, load_images, read_config
from sr_jax.train import train

FLAGS = flags.FLAGS
CONFIG = config_flags.DEFINE_config_file("config", help_string="Recipe, FILE[:ARGUMENT,...].")
flags.mark_flag_as_required("config")
WORKDIR = flags.DEFINE_string("workdir", None, "Default: runs/<config>-<arguments>.")
MODE = flags.DEFINE_enum("mode", "train", ["train", "evaluate"], "What to do.")
COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0, for several.")
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes there are.")
PROFILE = flags.DEFINE_bool("profile", False, "Write a trace of a few steps to WORKDIR/profile.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is.")


def main(_: object) -> None:
    """Sets up logging and processes, then trains or evaluates."""
    cluster.initialize(COORDINATOR.value, NUM_PROCESSES.value, PROCESS_ID.value)
    log_to_terminal(warnings_only=jax.process_index() > 0)
    recipe = config_flags.get_config_filename(FLAGS["config"])
    workdir = Path(WORKDIR.value or default_workdir(recipe))
    config = CONFIG.value
    if MODE.value == "train":
        train(read_config(config), workdir, profile=PROFILE.value)
        return
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
    images = [(source, pair) for pair in validation[:3]]
    report.compare(workdir / "comparison.png", images, scales[0], contenders)


def parse_flags(arguments: list[str]) -> list[str]:
    """Parses the command line; errors inside a config file keep their message, not their trace."""
    try:
        return FLAGS(arguments)
    except AttributeError as error:
        raise ValueError(f"the config has no such field: {error.args[0]}") from error
    except flags.Error as error:
        reason = str(error)
        if "Traceback" in reason:
            reason = reason.strip().splitlines()[-1]
        raise ValueError(reason) from error


if __name__ == "__main__":
    run(lambda: app.run(main, flags_parser=parse_flags))
