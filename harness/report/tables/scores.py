"""Whether the score that chose best is better than the others, and than chance."""

from __future__ import annotations

from collections.abc import Iterator

from harness.records.accuracy import gain
from harness.report.data import Cell, Group, Results
from harness.report.edge_figures import accuracy_of
from harness.report.score_comparisons import ScoreComparison, done_to_the_rest, score_comparisons
from harness.report.tables.model import Entry, Table, Tone, make_table, place_entries, speed_entry
from harness.report.wording import MISSING


def score_table(results: Results) -> Table:
    """A row for each configuration that the best of its comparison stands beside."""
    rows = [row for group in results.groups for row in _rows(group)]
    return make_table(
        "scores",
        "The best score beside the others",
        rows,
        reading="Of those that were to drop as many edges and do the same with the others, the one "
        "of the highest accuracy beside each other one. More accurate: by how many hundredths of "
        "the metric, with the 95 % interval of the difference, sample by sample where records "
        "tell; better where all of it is above 0. That one was found to be the best on the same "
        "samples is not in the interval. Speed-up: how many times as fast it is, interleaved.",
        without=results.without,
    )


def _rows(group: Group) -> Iterator[dict[str, Entry]]:
    found = score_comparisons(group)
    for comparison in found:
        if not comparison.scores:
            continue
        best = max(comparison.scores, key=lambda cell: accuracy_of(cell).value)
        others = [cell for cell in (*comparison.scores, *comparison.controls) if cell is not best]
        words = done_to_the_rest(comparison, found)
        for other in others:
            yield _row(group, comparison, words, best, other)


def _row(
    group: Group, comparison: ScoreComparison, words: str, best: Cell, other: Cell
) -> dict[str, Entry]:
    low, high = gain(accuracy_of(best), accuracy_of(other))
    more = accuracy_of(best).value - accuracy_of(other).value
    said: tuple[str, Tone] = ("better", "good") if low > 0 else ("not told apart", "")
    latency = best.against(other)
    return {
        **place_entries(group.place),
        "To drop": Entry(f"{100 * comparison.sparsity:g} %", detail=words),
        "Best": Entry(best.label),
        "Beside": Entry(other.label, detail="by chance" if other in comparison.controls else ""),
        "More accurate": Entry(
            f"{100 * more:+.2f}", detail=f"{100 * low:+.2f} to {100 * high:+.2f}", sort=more
        ),
        "Speed-up": speed_entry(latency) if latency else Entry(MISSING, tone="quiet"),
        "Verdict": Entry(said[0], tone=said[1]),
    }
