"""The old name of `sr-jax evaluate`, until the next release."""

from sr_jax.commands.console import run_old_name
from sr_jax.commands.evaluate import evaluate

if __name__ == "__main__":
    run_old_name(evaluate)
