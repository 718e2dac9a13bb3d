"""The old name of `sr-jax convert`, until the next release."""

from sr_jax.commands.console import run_old_name
from sr_jax.commands.convert import convert

if __name__ == "__main__":
    run_old_name(convert)
