"""What the tests of `sr-jax upscale` of videos ask for, and how they stop it."""

BICUBIC = {"model": "bicubic", "scale": 2}


class Stop(BaseException):
    """As Ctrl-C, but one that pytest takes for a test's own."""


def names(folder):
    return sorted(path.name for path in folder.iterdir())
