"""The accuracy of each way to choose edges beside that of choosing by chance, sparsity by
sparsity."""

from __future__ import annotations

from collections.abc import Mapping

from harness.report.data import Group
from harness.report.edge_figures import accuracy_of, dense_of, series, series_name
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, Scale, linear
from harness.report.plots.frame import PANEL_WIDTH, ROW_HEIGHT, bottom_axis, panel, row_label
from harness.report.score_comparisons import ScoreComparison, done_to_the_rest, score_comparisons

_LEFT, _RIGHT = 122.0, 262.0
_TOP = 46.0
_HEADING = 15.0


def draw(group: Group, _: Mapping[str, str]) -> Canvas | None:
    """One panel, or None when no configuration of the group chose its edges by chance."""
    found = score_comparisons(group)
    if not found:
        return None
    rows = sum(len(one.scores) + len(one.controls) for one in found)
    bottom = _TOP + (_HEADING + 4) * len(found) + ROW_HEIGHT * rows
    canvas = panel(group.title, bottom + 30)
    cells = [cell for one in found for cell in (*one.scores, *one.controls)]
    dense = next((d for c in cells if (d := dense_of(c, group)) and d.accuracy), None)
    accuracies = [accuracy_of(cell) for cell in (*cells, *((dense,) if dense else ()))]
    scale = linear(
        [end for one in accuracies for end in (one.ci_low, one.ci_high)], _LEFT, _RIGHT, zero=False
    )
    said = f"{accuracies[0].metric}, {accuracies[0].samples:,} samples"
    if dense is not None:
        said += f"; dashed: {dense.label}, with all edges"
    canvas.text((8, 30), said, size=style.SMALL_SIZE, color=style.SOFT, room=PANEL_WIDTH - 16)
    bottom_axis(canvas, scale, _TOP, bottom, accuracies[0].metric)
    if dense is not None:
        at = scale(accuracy_of(dense).value)
        canvas.lines([[(at, _TOP), (at, bottom)]], style.SOFT, dashed=True, layer=1)
    narrowest = min(one.ci_high - one.ci_low for one in accuracies)
    decimals = 3 if narrowest > 0.005 else 4
    # The colours of the plot of accuracy against sparsity.
    shades = style.colors(series(group), ())
    y = _TOP
    for comparison in found:
        y = _draw_comparison(
            canvas, scale, y, comparison, done_to_the_rest(comparison, found), shades, decimals
        )
    return canvas


def _draw_comparison(
    canvas: Canvas,
    scale: Scale,
    top: float,
    comparison: ScoreComparison,
    words: str,
    shades: Mapping[str, str],
    decimals: int,
) -> float:
    """A heading and a row a cell, controls last; returns where the next may begin."""
    heading = f"{100 * comparison.sparsity:.3g} % to drop" + (f", {words}" if words else "")
    canvas.text((8, top + _HEADING / 2 + 2), heading, bold=True, room=_LEFT + 120)
    cells = (*comparison.scores, *comparison.controls)
    first = top + _HEADING + 2
    if comparison.by_chance is not None:
        left, right = map(scale, comparison.by_chance)
        canvas.boxes([(left, first, right, first + ROW_HEIGHT * len(cells))], style.GRID, layer=0.5)
    for at, cell in enumerate(cells):
        y = first + ROW_HEIGHT * (at + 0.5)
        accuracy, control = accuracy_of(cell), cell in comparison.controls
        color = shades.get(series_name(cell), style.SOFT)
        row_label(canvas, _LEFT - 8, y, series_name(cell))
        canvas.lines([[(scale(accuracy.ci_low), y), (scale(accuracy.ci_high), y)]], color, width=2)
        canvas.dots(
            [(scale(accuracy.value), y)],
            style.PAPER if control else color,
            size=6,
            marker="diamond" if control else "circle",
            edges=color if control else style.PAPER,
        )
        text, low_end, high_end = (
            f"{value:.{decimals}f}" for value in (accuracy.value, accuracy.ci_low, accuracy.ci_high)
        )
        canvas.text((_RIGHT + 12, y), text, bold=True)
        said = comparison.standing(cell)
        canvas.text((_RIGHT + 66, y), said, size=style.SMALL_SIZE, color=style.SOFT, align="center")
        canvas.text(
            (PANEL_WIDTH - 6, y),
            f"{low_end}–{high_end}",
            size=style.SMALL_SIZE,
            color=style.SOFT,
            align="right",
        )
    return first + ROW_HEIGHT * len(cells) + 2
