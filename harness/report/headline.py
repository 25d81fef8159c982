"""The first lines of a report: cells by status, verdicts, and whether the machine was busy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.report.answers import Answer, Standing
from harness.report.data import Group, Results
from harness.report.wording import listed, share
from harness.statistics.verdicts import BUSY_SCATTER, OUTCOMES

_STANDINGS: tuple[Standing, ...] = (*OUTCOMES, "not known")
_MOST_NAMED = 4


def summary(results: Results, answers: Sequence[Answer]) -> list[str]:
    """The cells run, the number of cases in which what is to be deployed is faster or slower than
    the reference, and whether the machine had other work."""
    counts = results.counts
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    planned = sum(counts.values())
    lines = [f"{planned} {'cell' if planned == 1 else 'cells'} planned: {said or 'none'}."]
    standings: Counter[Standing] = Counter(
        answer.standing for answer in answers if answer.standing != "not timed"
    )
    parts = [
        f"{standing} in {standings[standing]}" for standing in _STANDINGS if standings[standing]
    ]
    if parts:
        whole, names = sum(standings.values()), " or ".join(results.reference_names)
        lines.append(
            f"The choice for each model against {names}, {whole} "
            f"{'case' if whole == 1 else 'cases'}: {', '.join(parts)}."
        )
    if not results.groups:
        lines.append("No cell has finished yet; layeredge run starts or goes on with a sweep.")
    return [*lines, *other_work(results.groups)]


def other_work(groups: Sequence[Group]) -> list[str]:
    """A line on the machine where it had other work while some of the models were measured."""
    scatters = {group.title: _scatter(group) for group in groups}
    busy = {title: scatter for title, scatter in scatters.items() if scatter > BUSY_SCATTER}
    if not busy:
        return []
    names = [*busy] if len(busy) <= _MOST_NAMED else [f"{len(busy)} of {len(groups)} models"]
    return [
        f"The machine had other work while {listed(names)} ran: single rounds scatter by "
        f"up to {share(max(busy.values()))}. Small differences stay undecided, and ratios may be "
        "off: what uses all cores loses more. layeredge run … --measure-again measures anew."
    ]


def _scatter(group: Group) -> float:
    """The largest scatter of single rounds of any timed cell beside the reference, or beside the
    first where there is none."""
    beside = group.reference or next(iter(group.timed), None)
    found = [cell.against(beside) for cell in group.timed if beside and cell is not beside]
    return max((verdict.scatter for verdict in found if verdict), default=0.0)
