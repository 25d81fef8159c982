"""The time from a new process to the first inference."""

from __future__ import annotations

from harness.report.data import Results
from harness.report.tables.model import Entry, Table, make_table, place_entries, quantity


def startup_table(results: Results) -> Table:
    """A row a cell whose process was timed from its start."""
    rows = [
        {
            **place_entries(group.place),
            "Configuration": Entry(cell.label),
            "Load, ms": quantity(startup.load_ms),
            "First inference, ms": quantity(startup.first_ms),
            "Median, ms": quantity(cell.median_ms if cell.timed else None),
        }
        for group in results.groups
        for cell in group.cells
        if (startup := cell.record.startup) is not None
    ]
    return make_table(
        "startup",
        "Time to the first inference",
        rows,
        reading="One measurement each, of a process that has imported its engine, the model's file "
        "in the page cache: loading the model, then its first inference; beside them the median of "
        "the later ones.",
        without=results.without,
        folded=True,
    )
