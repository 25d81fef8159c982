"""How long single inferences take, the slowest among them too."""

from __future__ import annotations

from harness.records.record import PERCENTILES
from harness.report.data import Cell, Results
from harness.report.tables.model import Entry, Table, count, make_table, quantity, rows_of


def inferences_table(results: Results) -> Table:
    """A row a cell whose inferences were timed one by one."""
    rows = rows_of(results, lambda group, cell: _figures(cell))
    return make_table(
        "inferences",
        "Single inferences",
        rows,
        reading="Percentiles of all inferences that were timed, back to back. The tail is of this "
        "machine and what else ran on it as much as of the network.",
        without=results.without,
        folded=True,
    )


def _figures(cell: Cell) -> dict[str, Entry] | None:
    inferences = cell.record.inferences
    if inferences is None:
        return None
    return {
        **{
            f"p{share:g}, ms": quantity(getattr(inferences, name))
            for name, share in PERCENTILES.items()
        },
        "Inferences": count(inferences.count),
    }
