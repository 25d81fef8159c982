"""What the tuner tells while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class TuningProgress:
    """A moment of a tuning run.

    `best_us` is the kernel's best time so far; `done` of `total` is in trials or in seconds,
    whichever the budget is given in.
    """

    kernel: str
    trials: int
    failed_trials: int
    trials_per_second: float
    best_us: float | None
    estimate_ms: float | None
    done: float
    total: float
    seconds_left: float


Listener = Callable[[TuningProgress], None]
