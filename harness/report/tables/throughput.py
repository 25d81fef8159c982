"""How many inferences a second networks give that run side by side."""

from __future__ import annotations

from functools import partial

from harness.report.data import Cell, Group, Results
from harness.report.tables.model import (
    Entry,
    Table,
    make_table,
    quantity,
    rows_of,
    speed_entry,
    speed_heading,
    verdict_entry,
)
from harness.report.wording import MISSING, number


def throughput_table(results: Results) -> Table:
    """A row a cell whose throughput was measured."""
    rows = rows_of(results, partial(_figures, speed_heading(results)))
    return make_table(
        "throughput",
        "Throughput",
        rows,
        reading="Copies of one network side by side, each in a process of its own; all together "
        "give so many inferences a second. The latency is of one copy while the others run.",
        without=results.without,
    )


def _figures(heading: str, group: Group, cell: Cell) -> dict[str, Entry] | None:
    found = cell.record.throughput
    if found is None:
        return None
    beside = group.reference if group.reference is not cell else None
    verdict = cell.throughput_against(beside) if beside else None
    interval = f"{number(found.ci_low)}–{number(found.ci_high)}"
    standing = "reference" if cell is group.reference else MISSING
    return {
        "Inferences a second": Entry(number(found.per_second), interval, found.per_second),
        heading: speed_entry(verdict) if verdict else Entry(MISSING, tone="quiet"),
        "Verdict": verdict_entry(verdict) if verdict else Entry(standing, tone="quiet"),
        "Latency, ms": quantity(cell.median_ms if cell.timed else None),
    }
