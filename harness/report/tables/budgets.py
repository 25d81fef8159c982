"""The gain of different sparsities for layers: budgets beside uniform networks."""

from __future__ import annotations

from harness.report.data import Group, Results
from harness.report.edge_figures import (
    accuracy_of,
    at_equal_accuracy,
    compressed,
    spending,
    uniform_line,
)
from harness.report.tables.model import (
    Entry,
    Table,
    make_table,
    place_entries,
    speed_entry,
    verdict_entry,
)
from harness.report.wording import number


def budget_table(results: Results) -> Table:
    """A row for each configuration whose layers differ, and that others stand beside which did all
    else the same."""
    rows = [row for group in results.groups for row in _rows(group)]
    return make_table(
        "budgets",
        "Budgets at equal accuracy",
        rows,
        reading="Configurations whose layers differ in sparsity, beside the same ones whose layers "
        "are all as sparse: how many times as fast as those, where they are as accurate, read off "
        "a line between the two measured ones that are more and less accurate, round by round. "
        "Above 1 the budget was worth it. The intervals are of the latency; that accuracy, too, "
        "is of samples is not in them.",
        without=results.without,
    )


def _rows(group: Group) -> list[dict[str, Entry]]:
    found = []
    for cell in compressed(group):
        if spending(cell) == "uniform" or cell.accuracy is None:
            continue
        compared = at_equal_accuracy(cell, uniform_line(cell, group))
        if compared is None:
            continue
        below, above, verdict = compared
        found.append(
            {
                **place_entries(group.place),
                "Configuration": Entry(cell.label),
                "Budget": Entry(spending(cell)),
                "Accuracy": Entry(number(accuracy_of(cell).value)),
                "Latency, ms": Entry(number(cell.median_ms), sort=cell.median_ms),
                "Between": Entry(
                    " and ".join(
                        f"{each.label} ({number(accuracy_of(each).value)}, "
                        f"{number(each.median_ms)} ms)"
                        for each in (below, above)
                    )
                ),
                "Speed-up over uniform": speed_entry(verdict),
                "Verdict": verdict_entry(verdict),
            }
        )
    return found
