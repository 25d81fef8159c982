"""How often a kernel is timed: few times where it is hopeless, several where it may be the best.

What is given are functions that run the kernel some times and say how many seconds one run took.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_SEED = 0
_HOPELESS = 3.0
"""A candidate this many times slower than the best known is dropped after its first run."""
_CONTENDER = 1.5
"""One within this factor of the best gets several samples, so that the best can be told apart."""
_SAMPLES = 3
_SAMPLE_SECONDS = 0.004
_MOST_RUNS = 400

Timer = Callable[[int], float]


def samples(seconds: Timer, best: float | None) -> list[float]:
    """Seconds per run of one candidate, several samples when it is a contender."""
    first = min(seconds(1) for _ in range(2))
    if best is not None and first > _HOPELESS * best:
        return [first]
    found = [seconds(_runs(first))]
    if best is None or found[0] <= _CONTENDER * best:
        for _ in range(1, _SAMPLES):
            found.append(seconds(_runs(first)))
    return found


def in_turns(timers: Sequence[Timer], rounds: int) -> list[list[float]]:
    """Seconds per run of several candidates, taking turns: [candidates][rounds]."""
    runs = [_runs(seconds(3)) for seconds in timers]
    found: list[list[float]] = [[] for _ in timers]
    order = np.random.default_rng(_SEED)
    for _ in range(rounds):
        for at in order.permutation(len(timers)):
            found[at].append(timers[at](runs[at]))
    return found


def _runs(seconds: float) -> int:
    """How many runs make a sample."""
    return min(_MOST_RUNS, max(1, round(_SAMPLE_SECONDS / max(seconds, 1e-9))))
