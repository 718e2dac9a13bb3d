"""The old name of `sr-jax upscale`, until the next release."""

from sr_jax.commands.console import run_old_name
from sr_jax.commands.upscale import upscale

if __name__ == "__main__":
    run_old_name(upscale)
