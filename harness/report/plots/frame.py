"""Parts that the panels share: a title, rows with labels, and a labelled axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.report.data import Cell
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, Point, Scale

PANEL_WIDTH = 410.0
ROW_HEIGHT = 17.0
TOP = 38.0
"""Where the first row's middle is, under the panel's title."""
PLOT_LEFT, PLOT_RIGHT = 54.0, PANEL_WIDTH - 12
PLOT_HEIGHT = 110.0
"""Of a plot of lines in a panel."""
LEGEND_ROW = 13.0
_NAMES_A_ROW = 3
FEW_TIMES = 8.0
"""Latencies further apart than this are drawn by ratio, or the small ones could not be read."""


def panel(title: str, height: float, width: float = PANEL_WIDTH) -> Canvas:
    """An empty panel with its title."""
    canvas = Canvas(width, height)
    canvas.text((8, 13), title, size=style.TITLE_SIZE, bold=True, room=width - 16)
    return canvas


def row_label(canvas: Canvas, right: float, y: float, text: str) -> None:
    """A row's name, right-aligned."""
    canvas.text((right, y), text, align="right", room=right - 8)


def legend_height(names: Sequence[str]) -> float:
    """How far the legend of some lines reaches down in a panel."""
    return 30 + LEGEND_ROW * -(-len(names) // _NAMES_A_ROW)


def legend(canvas: Canvas, names: Sequence[str], colors: Mapping[str, str]) -> None:
    """The names of lines beside their colours, under the panel's title."""
    width = (PANEL_WIDTH - 16) / _NAMES_A_ROW
    for at, name in enumerate(names):
        x, y = 14 + width * (at % _NAMES_A_ROW), 31 + LEGEND_ROW * (at // _NAMES_A_ROW)
        canvas.dots([(x, y)], colors[name], size=7)
        canvas.text((x + 8, y), name, room=width - 20)


def line(
    canvas: Canvas, points: Sequence[Point], ends: Sequence[tuple[float, float]], color: str
) -> None:
    """A line through points, each with the ends of its upright interval."""
    bars = [[(x, low), (x, high)] for (x, _), (low, high) in zip(points, ends, strict=True)]
    canvas.lines([points], color, width=1.4)
    canvas.lines(bars, color, width=2.0)
    canvas.dots(points, color, size=6, edges=style.PAPER)


def bottom_axis(
    canvas: Canvas,
    scale: Scale,
    top: float,
    bottom: float,
    name: str,
    *,
    about: int = 4,
    values: Sequence[int] = (),
) -> None:
    """Upright grid lines from `top` to `bottom` with their values beneath, and the axis's name.
    The lines are at `values` where some are given."""
    ticks = [(float(value), str(value)) for value in values] or scale.ticks(about)
    paths = [[(scale(value), top), (scale(value), bottom)] for value, _ in ticks]
    if paths:
        canvas.lines(paths, style.GRID, width=0.8, layer=0)
    for value, label in ticks:
        canvas.text(
            (scale(value), bottom + 8),
            label,
            size=style.SMALL_SIZE,
            color=style.SOFT,
            align="center",
        )
    note = name
    if scale.by_ratio:
        note += ", logarithmic"
    elif scale.low > 0:
        note += ", not from zero"
    middle = (scale.start + scale.end) / 2
    canvas.text(
        (middle, bottom + 20), note, size=style.SMALL_SIZE, color=style.SOFT, align="center"
    )


def left_axis(canvas: Canvas, scale: Scale, left: float, right: float, *, about: int = 4) -> None:
    """Level grid lines from `left` to `right` with their values at the left."""
    ticks = scale.ticks(about)
    if ticks:
        canvas.lines(
            [[(left, scale(value)), (right, scale(value))] for value, _ in ticks],
            style.GRID,
            width=0.8,
            layer=0,
        )
    for value, label in ticks:
        canvas.text(
            (left - 5, scale(value)), label, size=style.SMALL_SIZE, color=style.SOFT, align="right"
        )


def far_apart(values: Sequence[float]) -> bool:
    """Whether positive values are so far apart that they need a logarithmic scale."""
    return min(values) > 0 and max(values) / min(values) > FEW_TIMES


def why_not(cell: Cell) -> str:
    """In a few words, why a cell has no latency."""
    record = cell.record
    if record.status == "ok":
        return "no latency measured"
    return f"{record.status} ({record.stage})" if record.stage else record.status
