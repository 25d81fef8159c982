"""The tuner's progress messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.records.record import TuningCost


@dataclass(frozen=True)
class TuningProgress:
    """A moment of a tuning run.

    `best` is the cost of the kernel's best schedule so far, and `estimate` that of all kernels, in
    seconds or whatever else the tuning is `by`; `done` of `total` is in trials or in seconds,
    whichever the budget is given in.
    """

    kernel: str
    trials: int
    failed_trials: int
    trials_per_second: float
    by: TuningCost
    best: float | None
    estimate: float | None
    done: float
    total: float
    seconds_left: float


Listener = Callable[[TuningProgress], None]
