"""Schedules that were rejected for wrong results or for accesses outside their memory."""

from __future__ import annotations

from harness.report.data import Cell, Results
from harness.report.tables.model import Entry, Table, count, make_table, place_entries
from harness.report.wording import MISSING


def discarded_table(results: Results) -> Table:
    """How many schedules of each network were thrown away, and how many kernels were looked at."""
    rows = [row for cell in results.cells if (row := _row(cell)) is not None]
    return make_table(
        "discarded-schedules",
        "Schedules that were thrown away",
        rows,
        reading="Wrong ones computed something else than the unscheduled kernel. The others "
        "accessed memory outside their arguments: each kernel runs once with its arguments between "
        "pages that cannot be read or written. The default schedule takes the place of those that "
        "are found in the build.",
        without=results.without,
    )


def _row(cell: Cell) -> dict[str, Entry] | None:
    tuning, safety = cell.record.tuning, cell.record.memory_safety
    wrong = tuning.wrong_kernels if tuning else 0
    unsafe = tuning.unsafe_kernels if tuning else 0
    rejected = safety.rejected if safety else {}
    if not (wrong or unsafe or rejected):
        return None
    return {
        **place_entries(cell.key.place),
        "Configuration": Entry(cell.label),
        "Kernels": count(safety.kernels) if safety else Entry(MISSING),
        "Wrong": count(wrong),
        "Outside, in the final comparison": count(unsafe),
        "Outside, in the build": Entry(
            str(len(rejected)),
            detail="; ".join(f"{name} {why}" for name, why in rejected.items()),
            sort=len(rejected),
        ),
    }
