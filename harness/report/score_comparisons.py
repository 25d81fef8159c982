"""Ways to choose edges, side by side: cells that are to drop as many, and do the same with the
others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.records.accuracy import gain
from harness.report.data import Cell, Group
from harness.report.edge_figures import accuracy_of, compressed, is_control, treatment

ABOVE, LEVEL, BELOW = "▲", "≈", "▼"


@dataclass(frozen=True)
class ScoreComparison:
    """Cells that were to drop as many edges and did the same with the others: they differ in which,
    and where layers may differ, or the pattern rounds, a little in how many."""

    sparsity: float
    treatment: Mapping[str, object]
    scores: tuple[Cell, ...]
    controls: tuple[Cell, ...]

    @property
    def by_chance(self) -> tuple[float, float] | None:
        """The range of the controls' intervals; None without a control."""
        if not self.controls:
            return None
        found = [accuracy_of(cell) for cell in self.controls]
        return min(one.ci_low for one in found), max(one.ci_high for one in found)

    def standing(self, cell: Cell) -> str:
        """Whether a score is clear of all controls: sample by sample where the records tell, by the
        intervals of their accuracies otherwise."""
        if cell in self.controls:
            return "control"
        if not self.controls:
            return "no control"
        against = [gain(accuracy_of(cell), accuracy_of(control)) for control in self.controls]
        if all(low > 0 for low, _ in against):
            return ABOVE
        return BELOW if all(high < 0 for _, high in against) else LEVEL


def score_comparisons(group: Group) -> list[ScoreComparison]:
    """All scored configurations with compressed edges, the least sparse first; none where no
    configuration chose its edges by chance."""
    found: list[tuple[float, Mapping[str, object], list[Cell]]] = []
    for cell in _scored(group):
        assert cell.record.edges is not None
        asked, done = cell.record.edges.sparsity, treatment(cell)
        same = next((cells for one, other, cells in found if (one, other) == (asked, done)), None)
        if same is None:
            found.append((asked, done, [cell]))
        else:
            same.append(cell)
    split = [
        ScoreComparison(
            asked,
            done,
            tuple(cell for cell in cells if not is_control(cell)),
            tuple(cell for cell in cells if is_control(cell)),
        )
        for asked, done, cells in found
    ]
    if not any(one.controls for one in split):
        return []
    return sorted(split, key=lambda one: one.sparsity)


def done_to_the_rest(comparison: ScoreComparison, all_of_them: Sequence[ScoreComparison]) -> str:
    """The treatment of the edges, as far as it differs from comparison to comparison."""
    words = []
    for name, value in comparison.treatment.items():
        # Values that some comparisons lack, as inputs to fit to, do not tell the others apart.
        if all(other.treatment.get(name, value) == value for other in all_of_them) or not value:
            continue
        if value is True or isinstance(value, Mapping):
            words.append(name)
        elif isinstance(value, (list, tuple)):
            words.append(f"{name} {' '.join(map(str, value))}")
        else:
            words.append(value if isinstance(value, str) else f"{name} {value}")
    return ", ".join(words)


def _scored(group: Group) -> list[Cell]:
    """Compressed cells whose accuracy is a number, of the metric of the first of them."""
    cells = [cell for cell in compressed(group) if cell.accuracy]
    return [cell for cell in cells if accuracy_of(cell).metric == accuracy_of(cells[0]).metric]
