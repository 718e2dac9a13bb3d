"""Adds configs/ to the package, as sr_jax.configs; the rest is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["sr_jax*"]), "sr_jax.configs"],
    package_dir={"sr_jax.configs": "configs"},
)
