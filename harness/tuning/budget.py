"""How much tuning a network may have, and how much of that earlier runs have spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from harness.specs.sweep import Tune
from harness.tuning.database import Spent


@dataclass
class Budget:
    """How much tuning is left, in trials or in seconds."""

    total: float
    used: float
    in_trials: bool

    @property
    def left(self) -> float:
        return self.total - self.used

    @classmethod
    def after(
        cls,
        tune: Tune,
        kernels: Sequence[str],
        spent: Mapping[str, Spent],
        own: Mapping[str, Spent],
    ) -> Budget:
        """The rest of `tune` for some kernels, by their identities.

        Trials `spent` on the same kernels count, so that a kernel is not tuned twice: all trials of
        this network (its `own`), and those of others up to an even share of the budget for each
        kernel; otherwise one kernel tuned at length elsewhere would leave the others of this
        network untuned.
        """
        count = max(1, len(kernels))
        total: float
        share: float
        if tune.trials is not None:
            # Trials are whole: half of one would be left for ever, and never made.
            total, share, figure = tune.trials, tune.trials // count, attrgetter("trials")
        else:
            assert tune.minutes is not None
            total, figure = 60 * tune.minutes, attrgetter("seconds")
            share = total / count
        used = 0.0
        for kernel in kernels:
            here = figure(own[kernel])
            used += here + min(figure(spent[kernel]) - here, share)
        return cls(total, used, in_trials=tune.trials is not None)
