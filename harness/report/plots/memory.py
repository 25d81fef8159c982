"""Memory in its four figures, a row a configuration or baseline."""

from __future__ import annotations

from collections.abc import Mapping

from harness.report.data import Group
from harness.report.plots import style
from harness.report.plots.canvas import Canvas
from harness.report.plots.frame import PANEL_WIDTH, ROW_HEIGHT, panel, row_label
from harness.report.wording import MISSING, number

_FIGURES = (
    ("weights_mb", "weights"),
    ("activation_mb", "activations"),
    ("artifact_mb", "artifact"),
    ("peak_rss_mb", "peak resident"),
)
_LEFT, _TOP = 118.0, 50.0
_COLUMN = (PANEL_WIDTH - 6 - _LEFT) / len(_FIGURES)
_LONGEST_BAR = _COLUMN - 36


def draw(group: Group, colors: Mapping[str, str]) -> Canvas | None:
    """One panel, or None when nothing in the group has a memory figure.

    Each column has a scale of its own, from zero to its largest figure.
    """
    cells = [cell for cell in group.cells if cell.record.memory]
    if not cells:
        return None
    canvas = panel(group.title, _TOP + ROW_HEIGHT * (len(cells) - 1) + 14)
    for row, cell in enumerate(cells):
        row_label(canvas, _LEFT - 8, _TOP + ROW_HEIGHT * row, cell.label)
    bars: list[tuple[tuple[float, float, float, float], str]] = []
    for column, (field, title) in enumerate(_FIGURES):
        left = _LEFT + column * _COLUMN
        canvas.text((left, _TOP - 18), title, size=style.SMALL_SIZE, color=style.SOFT)
        values: list[float | None] = [getattr(cell.record.memory, field) for cell in cells]
        largest = max((value for value in values if value is not None), default=0.0) or 1.0
        for row, (cell, value) in enumerate(zip(cells, values, strict=True)):
            y = _TOP + ROW_HEIGHT * row
            right = left + _LONGEST_BAR * (value or 0.0) / largest
            if value:
                bars.append(((left, y - 4.5, right, y + 4.5), colors[cell.label]))
            canvas.text(
                (right + 4 if value else left, y),
                MISSING if value is None else number(value),
                size=style.SMALL_SIZE,
                color=style.INK if value else style.SOFT,
            )
    canvas.boxes([box for box, _ in bars], [color for _, color in bars])
    return canvas
