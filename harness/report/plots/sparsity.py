"""Accuracy and speed against the share of weights that was dropped, a line for each way to choose
them, and the share from which on dropping pays."""

from __future__ import annotations

import math
from collections.abc import Mapping

from harness.report.data import Cell, Group
from harness.report.edge_figures import BreakEven, Speed, break_even, dropped, series, speed
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, Point, Scale, linear, text_width
from harness.report.plots.frame import (
    LEGEND_ROW,
    PANEL_WIDTH,
    PLOT_HEIGHT,
    PLOT_LEFT,
    PLOT_RIGHT,
    bottom_axis,
    left_axis,
    panel,
)
from harness.report.wording import MISSING

_GAP = 54.0
_NAMES_A_ROW = 2
_BAND = 0.16

Figure = tuple[float, float, float, float]
"""Percent of the weights dropped, a value, and its interval."""


def draw(group: Group, _: Mapping[str, str]) -> Canvas | None:
    """One panel, or None when no timed cell of the group has compressed edges."""
    lines = series(group)
    if not lines:
        return None
    rows = -(-len(lines) // _NAMES_A_ROW)
    top = 30 + LEGEND_ROW * rows + 14
    middle = top + PLOT_HEIGHT + _GAP
    bottom = middle + PLOT_HEIGHT
    canvas = panel(group.title, bottom + 30)
    # A line has many cells, whose own colours are those of many lines.
    shades = style.colors(lines, ())
    speeds = {name: _speeds(cells, group) for name, cells in lines.items()}
    even = {name: break_even(found) for name, found in speeds.items()}
    _draw_legend(canvas, shades, even, speeds)
    percentages = [dropped(cell) for cells in lines.values() for cell in cells]
    across = linear([0.0, *percentages], PLOT_LEFT, PLOT_RIGHT)
    whole = next((c.accuracy for c in group.own if not c.record.is_compressed), None)
    scored = [c.accuracy for cells in lines.values() for c in cells if c.accuracy]
    said = "accuracy was not measured"
    if scored:
        said = f"{scored[0].metric}, {scored[0].samples:,} samples; dashed: all edges kept"
    level = whole.value if whole else None
    _draw_plot(canvas, _accuracies(lines), level, said, shades, across, top)
    said = "no dense configuration was measured interleaved with these"
    if any(speeds.values()):
        said = "times as fast as with all edges; dashed: as fast; diamond: break-even"
    figures = {
        name: [(one.dropped, one.times, one.low, one.high) for one in found]
        for name, found in speeds.items()
    }
    up = _draw_plot(canvas, figures, 1.0, said, shades, across, middle)
    if up is not None:
        _draw_break_even(canvas, even, figures, shades, across, up)
    return canvas


def _draw_legend(
    canvas: Canvas,
    shades: Mapping[str, str],
    even: Mapping[str, BreakEven | None],
    speeds: Mapping[str, list[Speed]],
) -> None:
    """Each line's colour, and in words where it breaks even."""
    width = (PANEL_WIDTH - 16) / _NAMES_A_ROW
    for at, (name, color) in enumerate(shades.items()):
        x = 14 + width * (at % _NAMES_A_ROW)
        y = 31 + LEGEND_ROW * (at // _NAMES_A_ROW)
        canvas.dots([(x, y)], color, size=7)
        said = said_of(even[name], speeds[name])
        room = width - 34 - text_width(said, size=style.SMALL_SIZE)
        canvas.text((x + 8, y), name, room=room)
        canvas.text(
            (x + width - 18, y), said, size=style.SMALL_SIZE, color=style.SOFT, align="right"
        )


def said_of(even: BreakEven | None, speeds: list[Speed]) -> str:
    """Where a line breaks even, as far as it was measured."""
    if even is None:
        return MISSING
    if math.isinf(even.low) and math.isinf(even.high) and even.low < even.high:
        return "not told from even"
    first, last = speeds[0].dropped, speeds[-1].dropped
    at, low, high = (_percentage(value, first, last) for value in (even.at, even.low, even.high))
    interval = "" if low == high else f" ({low}–{high})"
    return f"even at {at}{interval} %"


def _percentage(value: float, first: float, last: float) -> str:
    if math.isinf(value):
        return f"<{first:.0f}" if value < 0 else f">{last:.0f}"
    return f"{value:.0f}"


def _accuracies(lines: Mapping[str, list[Cell]]) -> dict[str, list[Figure]]:
    return {
        name: [
            (dropped(cell), found.value, found.ci_low, found.ci_high)
            for cell in cells
            if (found := cell.accuracy) is not None
        ]
        for name, cells in lines.items()
    }


def _speeds(cells: list[Cell], group: Group) -> list[Speed]:
    return [found for cell in cells if (found := speed(cell, group)) is not None]


def _draw_plot(
    canvas: Canvas,
    lines: Mapping[str, list[Figure]],
    level: float | None,
    said: str,
    shades: Mapping[str, str],
    across: Scale,
    top: float,
) -> Scale | None:
    """One of the two plots, and its upright scale; `level` is where no edge dropped would be."""
    values = [value for figures in lines.values() for _, *part in figures for value in part]
    canvas.text((8, top - 11), said, size=style.SMALL_SIZE, color=style.SOFT)
    if not values:
        return None
    bottom = top + PLOT_HEIGHT
    up = linear(values if level is None else [level, *values], bottom, top, zero=False)
    bottom_axis(canvas, across, top, bottom, "% of the weights dropped")
    left_axis(canvas, up, PLOT_LEFT, PLOT_RIGHT)
    if level is not None:
        canvas.lines(
            [[(PLOT_LEFT, up(level)), (PLOT_RIGHT, up(level))]], style.SOFT, dashed=True, layer=1
        )
    for name, figures in lines.items():
        _draw_line(
            canvas,
            [(across(x), up(value)) for x, value, _, _ in figures],
            [(up(low), up(high)) for _, _, low, high in figures],
            shades[name],
        )
    return up


def _draw_line(
    canvas: Canvas, points: list[Point], intervals: list[tuple[float, float]], color: str
) -> None:
    if not points:
        return
    ends = [(x, low, high) for (x, _), (low, high) in zip(points, intervals, strict=True)]
    if len(points) > 1:
        band = [(x, low) for x, low, _ in ends] + [(x, high) for x, _, high in reversed(ends)]
        canvas.areas([band], color, opacity=_BAND)
    canvas.lines([points], color, width=1.4)
    canvas.lines([[(x, low), (x, high)] for x, low, high in ends], color, width=1.2)
    canvas.dots(points, color, size=6, edges=style.PAPER)


def _draw_break_even(
    canvas: Canvas,
    even: Mapping[str, BreakEven | None],
    figures: Mapping[str, list[Figure]],
    shades: Mapping[str, str],
    across: Scale,
    up: Scale,
) -> None:
    """A diamond where a line crosses 1, with a bar as far as its interval does."""
    for name, found in even.items():
        if found is None or math.isinf(found.at):
            continue
        first, last = figures[name][0][0], figures[name][-1][0]
        ends = [(across(min(max(x, first), last)), up(1.0)) for x in (found.low, found.high)]
        canvas.lines([ends], shades[name], width=2.4, layer=4)
        mark = (across(found.at), up(1.0))
        canvas.dots([mark], style.PAPER, size=7, marker="diamond", edges=shades[name], layer=5)
