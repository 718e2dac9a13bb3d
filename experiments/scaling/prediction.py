"""What many chips would train: from the step time of one, the bytes of a step, the link's speed."""

from typing import NamedTuple


class Prediction(NamedTuple):
    """Images a second of all chips together.

    Attributes:
        hidden: if communication runs while the backward pass computes.
        waiting: if it begins after it and nothing else runs meanwhile.
    """

    hidden: float
    waiting: float


def images_per_second(
    chips: int,
    images: int,
    step_seconds: float,
    reduced_bytes: float,
    link: float,
    latency: float = 0.0,
    calls: int = 1,
) -> Prediction:
    """Data-parallel training of which every chip takes equally many images.

    A ring all-reduce of B bytes over n chips is 2 (n - 1) rounds, in each of which every chip sends
    B / n bytes to its neighbour. With K all-reduces of B bytes in all, a link of L bytes a second
    and a latency l of a round

        communication = 2 (n - 1) / n * B / L + 2 (n - 1) * K * l
        hidden  = n * images / max(step, communication)
        waiting = n * images / (step + communication)

    The truth lies between both, if the input pipeline keeps up and no chip is slower than others.

    >>> images_per_second(1, 16, 0.5, 6e6, 1e10)
    Prediction(hidden=32.0, waiting=32.0)
    >>> images_per_second(2, 16, 0.5, 5e9, 1e10)
    Prediction(hidden=64.0, waiting=32.0)

    Args:
        chips: n.
        images: of the batch, on each chip.
        step_seconds: of a step with so many images on one chip.
        reduced_bytes: B, of all all-reduces of a step (`measure.communication`).
        link: L, bytes a second that a chip sends in one direction while it receives as many.
        latency: l, seconds.
        calls: K.
    """
    rounds = 2 * (chips - 1)
    communication = rounds / chips * reduced_bytes / link + rounds * calls * latency
    return Prediction(
        chips * images / max(step_seconds, communication),
        chips * images / (step_seconds + communication),
    )
