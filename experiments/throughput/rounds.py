"""Turns on near cores, and on far ones apart from them."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from experiments.harness import MIN_ROUNDS, interleave
from experiments.throughput.cores import latency

# Seconds of a round trip, and more between far cores. On the one machine where it was measured
# near ones had 1.4e-7 to 2e-7 and far ones 5.8e-7 to 6e-7. Where all trips are longer, rows take
# PATIENCE times their budget.
FAR = 3.2e-7
PATIENCE = 3  # times the budget that is spent until there are enough rounds with near cores


class Rounds(NamedTuple):
    """Seconds of every run, by name of the contender.

    Attributes:
        samples: of rounds with near cores; of all rounds where those are fewer than three.
        far: of rounds with far cores, where the others are enough to tell them apart.
        round_trips: `latency` before, between and after the rounds.
    """

    samples: dict[str, list[float]]
    far: dict[str, list[float]]
    round_trips: list[float]


def interleave_near(
    runs: Mapping[str, Callable[[], Any]],
    budget: float,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Rounds:
    """`harness.interleave`, round by round, with rounds on far cores apart from the others.

    Args:
        runs, clock: see there.
        budget: seconds; up to three times as many where the cores are far apart.
    """
    near: dict[str, list[float]] = {name: [] for name in runs}
    far: dict[str, list[float]] = {name: [] for name in runs}
    trips, begin, counts = [latency()], clock(), {"near": 0, "far": 0}
    while True:
        found = interleave(runs, 0, min_rounds=1, clock=clock)
        trips.append(latency())
        kind = "far" if max(trips[-2:]) > FAR else "near"
        counts[kind] += 1
        for name, seconds in found.items():
            (far if kind == "far" else near)[name] += seconds
        spent = clock() - begin
        enough = counts["near"] >= MIN_ROUNDS
        if (enough and spent >= budget) or (
            sum(counts.values()) >= MIN_ROUNDS and spent >= PATIENCE * budget
        ):
            break
    if not enough:
        return Rounds({name: near[name] + far[name] for name in runs}, {}, trips)
    return Rounds(near, far if counts["far"] else {}, trips)
