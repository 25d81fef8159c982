"""Under which further limit another cell would be chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from harness.records.accuracy_guard import short
from harness.records.candidates import Candidate, Constraints, considered
from harness.statistics.verdicts import MINIMUM_EFFECT

Choose = Callable[[Constraints], Candidate | None]
"""The choice under constraints."""


def flips_of(
    choice: Candidate,
    others: Sequence[Candidate],
    constraints: Constraints,
    objective: str,
    choose: Choose,
) -> Iterator[str]:
    """For each metric in which one of the others, best first, is better than the choice, the limit
    under which it would be chosen; and what would be without regard to accuracy. Each is tried."""
    for option, metric in considered(constraints, objective).items():
        for other in others if option != objective else ():
            cost, own = other.cost(option), choice.cost(option)
            slight = 0.0 if metric.most else MINIMUM_EFFECT * own  # no reason to choose it
            if not cost < own - slight:
                continue
            limit = _limit_between(cost, own)
            limit = -limit if metric.most else limit
            if choose(constraints.limited(option, limit)) == other:
                yield f"{metric.limit_option} {limit:.10g} {_would(other, choice, objective)}"
                break
    if constraints.guards_accuracy:
        found = choose(constraints.model_copy(update={"any_accuracy": True}))
        if found is not None and found.fingerprint != choice.fingerprint:
            yield f"--any-accuracy {_would(found, choice, objective)}"


def _would(other: Candidate, choice: Candidate, objective: str) -> str:
    return f"would choose {short(other.key)}, {objective} {other.behind(choice, objective)}"


def _limit_between(low: float, high: float) -> float:
    """A short number of at least `low` and below `high`."""
    for digits in range(1, 17):
        step = 10.0 ** (math.floor(math.log10(abs(low))) + 1 - digits) if low else 0.0
        limit = math.ceil(low / step) * step if step else 0.0
        if low <= limit < high:
            return float(f"{limit:.{digits}g}")
    return low
