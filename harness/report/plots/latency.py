"""Latency with its interval, a row a configuration or baseline."""

from __future__ import annotations

from collections.abc import Mapping

from harness.report.data import Cell, Group
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, Scale, by_ratio, linear
from harness.report.plots.frame import (
    PANEL_WIDTH,
    ROW_HEIGHT,
    TOP,
    bottom_axis,
    far_apart,
    panel,
    row_label,
    why_not,
)
from harness.report.wording import with_interval

_LEFT, _RIGHT = 122.0, 290.0
_MOST_DOTS = 150


def draw(group: Group, colors: Mapping[str, str]) -> Canvas | None:
    """One panel, or None when nothing in the group has a latency."""
    if not group.timed:
        return None
    bottom = TOP + ROW_HEIGHT * len(group.cells) - ROW_HEIGHT / 2
    canvas = panel(group.title, bottom + 30)
    scale = _scale(group)
    bottom_axis(canvas, scale, TOP - ROW_HEIGHT / 2, bottom, "ms per inference")
    if group.reference:
        at = scale(group.reference.median_ms)
        canvas.lines(
            [[(at, TOP - ROW_HEIGHT / 2), (at, bottom)]],
            colors[group.reference.label],
            dashed=True,
            layer=1,
        )
    for row, cell in enumerate(group.cells):
        y = TOP + ROW_HEIGHT * row
        row_label(canvas, _LEFT - 8, y, cell.label)
        if cell.timed:
            _draw_row(canvas, scale, y, cell, colors[cell.label])
        else:
            canvas.text((_RIGHT + 10, y), why_not(cell), color=style.SOFT, room=110)
    return canvas


def _draw_row(canvas: Canvas, scale: Scale, y: float, cell: Cell, color: str) -> None:
    latency = cell.record.latency
    assert latency is not None
    step = -(-len(cell.samples_ms) // _MOST_DOTS) or 1
    dots = [
        # Moved up and down by the golden ratio, so that equal samples do not hide each other.
        (scale(value), y + (at * 0.618 % 1 - 0.5) * 9)
        for at, value in enumerate(cell.samples_ms[::step].tolist())
        if scale.low <= value <= scale.high
    ]
    if dots:
        canvas.dots(dots, color, size=2.2, opacity=0.3, layer=1.5)
    canvas.lines(
        [[(scale(latency.ci_low_ms), y), (scale(latency.ci_high_ms), y)]], color, width=3.0
    )
    canvas.dots([(scale(latency.p90_ms), y)], color, size=9, marker="tick")
    canvas.dots(
        [(scale(latency.median_ms), y)],
        color,
        size=7,
        marker="circle" if cell.own else "diamond",
        edges=style.PAPER,
    )
    median, interval = with_interval(latency.median_ms, latency.ci_low_ms, latency.ci_high_ms)
    canvas.text((_RIGHT + 10, y), median, bold=True)
    canvas.text(
        (PANEL_WIDTH - 6, y), interval, size=style.SMALL_SIZE, color=style.SOFT, align="right"
    )


def _scale(group: Group) -> Scale:
    latencies = [cell.record.latency for cell in group.timed if cell.record.latency]
    values = [
        value
        for latency in latencies
        for value in (latency.ci_low_ms, latency.ci_high_ms, latency.p90_ms)
    ]
    if far_apart(values):
        return by_ratio(values, _LEFT, _RIGHT)
    return linear(values, _LEFT, _RIGHT)
