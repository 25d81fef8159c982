"""Cells by the metrics that they are chosen by, and the limits that they must keep to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import Field, FiniteFloat, field_validator

from harness.records.accuracy import score
from harness.records.metrics import ACCURACY, CHOOSABLE, Metric, choosable
from harness.records.record import AGREEMENT, CellKey, Record
from harness.specs.documents import Frozen


class Constraints(Frozen):
    """Limits for cells: `limits` by the options of metrics, in their units.

    Without a limit of accuracy a cell must not be clearly less accurate than the uncompressed
    network (`harness.records.accuracy`), unless `any_accuracy`. With `allow_agreement`, agreement
    with the reference stands in for accuracy.
    """

    limits: Mapping[str, FiniteFloat] = Field(default_factory=dict)
    allow_agreement: bool = False
    any_accuracy: bool = False

    @field_validator("limits")
    @classmethod
    def _of_known_metrics(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        for option, limit in value.items():
            if not choosable(option).most and limit <= 0:
                raise ValueError(f"{option}: expected a limit above 0, found {limit:g}")
        return value

    def limited(self, option: str, limit: float) -> Constraints:
        """The same with one limit more, or another in its place."""
        return self.model_copy(update={"limits": {**self.limits, option: limit}})

    @property
    def guards_accuracy(self) -> bool:
        return ACCURACY not in self.limits and not self.any_accuracy


class Candidate(Frozen):
    """A cell: `figures` by the options of metrics, None where they are not known, `units` of those
    that have one, and `unknown` with the reasons of those that are not known. The figure of
    accuracy is None where only agreement was found and that does not count, or no number;
    `accuracy_is` names the figure that was found."""

    key: CellKey
    fingerprint: str
    figures: Mapping[str, float | None]
    units: Mapping[str, str]
    unknown: Mapping[str, str]
    accuracy_is: str | None

    def cost(self, option: str) -> float:
        """The figure, turned so that less is better; infinite where it is not known."""
        value = self.figures[option]
        if value is None:
            return math.inf
        return -value if CHOOSABLE[option].most else value

    def behind(self, choice: Candidate, objective: str) -> str:
        """How far the figure of the objective is from that of the choice: a share where less is
        better, else the difference."""
        ours, best = self.cost(objective), choice.cost(objective)
        relative = not CHOOSABLE[objective].most and best > 0
        return f"{ours / best - 1:+.1%}" if relative else f"{abs(ours) - abs(best):+.4g}"

    def written(self, option: str, value: float | None) -> str:
        """A figure of this cell, or its limit, with the unit."""
        return CHOOSABLE[option].written(value, self.units[option])


def candidate_of(record: Record, constraints: Constraints) -> Candidate:
    """A cell by its figures."""
    figures = {option: metric.of(record) for option, metric in CHOOSABLE.items()}
    reasons = {option: metric.unknown(record) for option, metric in CHOOSABLE.items()}
    accuracy = record.accuracy
    name = accuracy.metric if accuracy else None
    if accuracy and not accuracy.defined:
        figures[ACCURACY], name = None, f"{score(accuracy.value)} ({accuracy.metric})"
    elif accuracy and name == AGREEMENT and not constraints.allow_agreement:
        name = f"only {AGREEMENT} ({accuracy.value:.4g}), which is not labelled data"
        figures[ACCURACY] = None
    reasons[ACCURACY] = name
    return Candidate(
        key=record.key,
        fingerprint=record.fingerprint,
        figures=figures,
        units={option: metric.unit_of(record) for option, metric in CHOOSABLE.items()},
        unknown={
            option: reason
            for option, reason in reasons.items()
            if reason is not None and figures[option] is None
        },
        accuracy_is=name,
    )


def considered(constraints: Constraints, objective: str) -> dict[str, Metric]:
    """The metrics that a choice is about: all but variants that were not asked for."""
    return {
        option: metric
        for option, metric in CHOOSABLE.items()
        if not metric.variant or option in constraints.limits or option == objective
    }


def units_of(option: str, candidates: Sequence[Candidate]) -> list[str]:
    """The units in which candidates have a figure."""
    return sorted({one.units[option] for one in candidates if one.figures[option] is not None})
