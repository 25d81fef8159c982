"""Latency with its interval, a row a configuration or baseline."""

from __future__ import annotations

from collections.abc import Mapping

from harness.records.record import Latency
from harness.report.data import Cell, Group
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, Marker, Point, Scale, by_ratio, linear
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

_LEFT, _RIGHT = 122.0, 270.0
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
    rows = [(TOP + ROW_HEIGHT * row, cell) for row, cell in enumerate(group.cells)]
    for y, cell in rows:
        row_label(canvas, _LEFT - 8, y, cell.label)
        if cell.record.latency and cell.timed:
            _write_figures(canvas, y, cell.record.latency)
        else:
            canvas.text((_RIGHT + 10, y), why_not(cell), color=style.SOFT, room=110)
    _draw_marks(canvas, scale, [(y, cell) for y, cell in rows if cell.timed], colors)
    return canvas


def _write_figures(canvas: Canvas, y: float, latency: Latency) -> None:
    median, interval = with_interval(latency.median_ms, latency.ci_low_ms, latency.ci_high_ms)
    canvas.text((_RIGHT + 10, y), median, bold=True)
    canvas.text(
        (PANEL_WIDTH - 6, y), interval, size=style.SMALL_SIZE, color=style.SOFT, align="right"
    )


def _draw_marks(
    canvas: Canvas, scale: Scale, rows: list[tuple[float, Cell]], colors: Mapping[str, str]
) -> None:
    dots: list[tuple[Point, str]] = []
    intervals: list[list[Point]] = []
    p90: list[Point] = []
    for y, cell in rows:
        latency = cell.record.latency
        assert latency is not None
        dots += [(point, colors[cell.label]) for point in _sample_points(scale, y, cell)]
        intervals.append([(scale(latency.ci_low_ms), y), (scale(latency.ci_high_ms), y)])
        p90.append((scale(latency.p90_ms), y))
    row_colors = [colors[cell.label] for _, cell in rows]
    if dots:
        points, dot_colors = zip(*dots, strict=True)
        canvas.dots(points, dot_colors, size=2.2, opacity=0.3, layer=1.5)
    canvas.lines(intervals, row_colors, width=3.0)
    canvas.dots(p90, row_colors, size=9, marker="tick")
    markers: dict[bool, Marker] = {True: "circle", False: "diamond"}
    for own, marker in markers.items():
        chosen = [(y, cell) for y, cell in rows if cell.own is own]
        if chosen:
            canvas.dots(
                [(scale(cell.median_ms), y) for y, cell in chosen],
                [colors[cell.label] for _, cell in chosen],
                size=5.5,
                marker=marker,
                edges=style.PAPER,
            )


def _sample_points(scale: Scale, y: float, cell: Cell) -> list[Point]:
    """Raw samples inside the scale, thinned where there are many, in the order they were taken."""
    step = -(-len(cell.samples_ms) // _MOST_DOTS) or 1
    return [
        # Moved up and down by the golden ratio, so that equal samples do not hide each other.
        (scale(value), y + (at * 0.618 % 1 - 0.5) * 9)
        for at, value in enumerate(cell.samples_ms[::step].tolist())
        if scale.low <= value <= scale.high
    ]


def _scale(group: Group) -> Scale:
    latencies = [cell.record.latency for cell in group.timed if cell.record.latency]
    values = [
        value
        for latency in latencies
        for value in (latency.ci_low_ms, latency.ci_high_ms, latency.p90_ms)
    ]
    if far_apart(values):
        return by_ratio(values, _LEFT, _RIGHT)
    return linear(values, _LEFT, _RIGHT, zero=False)
