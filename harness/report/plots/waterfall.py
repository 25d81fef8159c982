"""The gain or loss of each configuration against the one that it extends by a step."""

from __future__ import annotations

from collections.abc import Mapping

from harness.report.data import Cell, Group
from harness.report.parents import parent_of
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, Scale, linear
from harness.report.plots.frame import (
    PANEL_WIDTH,
    ROW_HEIGHT,
    TOP,
    bottom_axis,
    panel,
    row_label,
    why_not,
)
from harness.report.wording import number
from harness.statistics.verdicts import Outcome, Verdict

_LEFT, _RIGHT = 122.0, 246.0
_FIGURE = 54.0
"""Room for the latency beside a bar, in points."""
_HALF = 5.5
_MARKS: Mapping[Outcome, str] = {"no difference": " ≈", "undecided": " ?"}


def draw(group: Group, colors: Mapping[str, str]) -> Canvas | None:
    """One panel, or None when fewer than two configurations have a latency."""
    if len(group.own) < 2:
        return None
    cells = [cell for cell in group.cells if cell.own]
    bottom = TOP + ROW_HEIGHT * len(cells) - ROW_HEIGHT / 2
    canvas = panel(group.title, bottom + (44 if group.reference else 30))
    highest = [cell.median_ms for cell in (*group.own, group.reference) if cell]
    scale = linear(highest, _LEFT, _RIGHT)
    bottom_axis(canvas, scale, TOP - ROW_HEIGHT / 2, bottom, "ms per inference")
    rows = [(TOP + ROW_HEIGHT * row, cell) for row, cell in enumerate(cells)]
    for y, cell in rows:
        row_label(canvas, _LEFT - 8, y, cell.label)
        if not cell.timed:
            canvas.text((_RIGHT + 8, y), why_not(cell), color=style.SOFT, room=126)
            continue
        canvas.text((_RIGHT + 8, y), f"{number(cell.median_ms)} ms", bold=True)
        if (parent := parent_of(cell, group)) is not None:
            _draw_step(canvas, scale, y, parent, cell, colors[cell.label])
    timed = [(y, cell) for y, cell in rows if cell.timed]
    canvas.boxes(
        [(scale.start, y - _HALF, scale(cell.median_ms), y + _HALF) for y, cell in timed],
        [colors[cell.label] for _, cell in timed],
    )
    if group.reference:
        at = scale(group.reference.median_ms)
        color = colors[group.reference.label]
        canvas.lines([[(at, TOP - ROW_HEIGHT / 2), (at, bottom)]], color, dashed=True, layer=4)
        note = f"dashed: {group.reference.label}, {number(group.reference.median_ms)} ms"
        canvas.text((_LEFT, bottom + 33), note, size=style.SMALL_SIZE, color=color)
    return canvas


def _draw_step(
    canvas: Canvas, scale: Scale, y: float, before: Cell, cell: Cell, color: str
) -> None:
    """A gain is time that is gone, so it is drawn empty; a loss is hatched onto the bar."""
    start, end = scale(before.median_ms), scale(cell.median_ms)
    gained = end <= start
    canvas.boxes(
        [(min(start, end), y - _HALF, max(start, end), y + _HALF)],
        "none",
        edges=color if gained else style.PAPER,
        hatch=None if gained else "/////",
        layer=2,
    )
    canvas.text(
        (PANEL_WIDTH - 6, y),
        f"{change(before, cell)} from {before.label}",
        size=style.SMALL_SIZE,
        color=style.SOFT,
        align="right",
        room=PANEL_WIDTH - 6 - _RIGHT - _FIGURE,
    )


def change(before: Cell, cell: Cell) -> str:
    """How a cell's median stands to another's, in per cent, and whether that is so."""
    part = (cell.median_ms / before.median_ms - 1) * 100
    said = (f"{part:+.0f} %" if abs(part) >= 10 else f"{part:+.1f} %").replace("-", "−")
    verdict: Verdict | None = cell.against(before)
    if verdict is None:
        return f"{said} †"
    return said + _MARKS.get(verdict.verdict, "")
