"""How often a kernel is timed: few times where it is hopeless, several where it may be the best.

A `Timer` runs the kernel a number of times and returns the seconds of one run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_SEED = 0
_HOPELESS = 3.0
"""A candidate this many times slower than the best known is dropped after its first run."""
_NEAR_BEST = 1.5
"""One within this factor of the best gets several samples, so that the best can be told apart."""
_SAMPLES = 3
_SAMPLE_SECONDS = 0.004
_MOST_RUNS = 400

Timer = Callable[[int], float]


@dataclass(frozen=True)
class CalibrationKernel:
    """A schedule of the same kernel, timed beside each candidate: its time at that moment,
    beside the `seconds` that it is known for, tells how fast the machine is just then."""

    timer: Timer
    seconds: float

    def correction(self, runs: int) -> float:
        """The factor for a time that was taken right before."""
        return self.seconds / self.timer(runs)


def samples(
    seconds: Timer, best: float | None, calibration: CalibrationKernel | None = None
) -> list[float]:
    """Seconds per run of one candidate, several samples when it is a finalist; as if the machine
    had been as fast as when the calibration kernel was measured, where there is one."""
    first = min(seconds(1) for _ in range(2))
    if best is not None and first > _HOPELESS * best:
        return [first]
    runs = _runs(first)

    def sample() -> float:
        found = seconds(runs)
        return found * calibration.correction(runs) if calibration else found

    found = [sample()]
    if best is None or found[0] <= _NEAR_BEST * best:
        found += [sample() for _ in range(1, _SAMPLES)]
    return found


def interleaved(timers: Sequence[Timer], rounds: int) -> list[list[float]]:
    """Seconds per run of several candidates, interleaved: [candidates][rounds]."""
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
