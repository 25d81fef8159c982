"""The time from a new process to the first inference."""

from __future__ import annotations

from harness.report.data import Cell, Results
from harness.report.tables.model import Entry, Table, make_table, quantity, rows_of


def startup_table(results: Results) -> Table:
    """A row a cell whose process was timed from its start."""
    rows = rows_of(results, lambda group, cell: _figures(cell))
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


def _figures(cell: Cell) -> dict[str, Entry] | None:
    startup = cell.record.startup
    if startup is None:
        return None
    return {
        "Load, ms": quantity(startup.load_ms),
        "First inference, ms": quantity(startup.first_ms),
        "Median, ms": quantity(cell.median_ms if cell.timed else None),
    }
