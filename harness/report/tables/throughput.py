"""How many inferences a second networks give that run side by side."""

from __future__ import annotations

from harness.report.data import Results
from harness.report.tables.model import (
    Entry,
    Table,
    make_table,
    place_entries,
    quantity,
    speed_entry,
    verdict_entry,
)
from harness.report.wording import MISSING, number


def throughput_table(results: Results) -> Table:
    """A row a cell whose throughput was measured."""
    rows = []
    for group in results.groups:
        for cell in group.cells:
            found = cell.record.throughput
            if found is None:
                continue
            beside = group.reference if group.reference is not cell else None
            verdict = cell.throughput_against(beside) if beside else None
            rows.append(
                {
                    **place_entries(group.place),
                    "Configuration": Entry(cell.label),
                    "Inferences a second": Entry(
                        number(found.per_second),
                        f"{number(found.ci_low)}–{number(found.ci_high)}",
                        found.per_second,
                    ),
                    f"Over {group.reference_name}": speed_entry(verdict)
                    if verdict
                    else Entry(MISSING, tone="quiet"),
                    "Verdict": verdict_entry(verdict)
                    if verdict
                    else Entry("reference" if cell is group.reference else MISSING, tone="quiet"),
                    "Latency, ms": quantity(cell.median_ms if cell.timed else None),
                }
            )
    return make_table(
        "throughput",
        "Throughput",
        rows,
        reading="Copies of one network side by side, each in a process of its own; all together "
        "give so many inferences a second. The latency is of one copy while the others run.",
        without=results.without,
    )
