"""Accuracy and speed against the share of weights that was dropped, a line for each way to choose
them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from harness.report.data import Cell, Group
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, Point, Scale, linear
from harness.report.plots.frame import PANEL_WIDTH, bottom_axis, left_axis, panel

_LEFT, _RIGHT = 50.0, PANEL_WIDTH - 12
_PLOT_HEIGHT = 100.0
_GAP = 54.0
_LEGEND_HEIGHT = 13.0
_NAMES_A_ROW = 3

Figure = tuple[float, float, float, float]
"""Percent of the weights dropped, a value, and its interval."""


def draw(group: Group, _: Mapping[str, str]) -> Canvas | None:
    """One panel, or None when no timed cell of the group has compressed edges."""
    lines = series(group)
    if not lines:
        return None
    rows = -(-len(lines) // _NAMES_A_ROW)
    top = 30 + _LEGEND_HEIGHT * rows + 14
    middle = top + _PLOT_HEIGHT + _GAP
    bottom = middle + _PLOT_HEIGHT
    canvas = panel(group.title, bottom + 30)
    # A line has many cells, whose own colours are those of many lines.
    shades = style.colors(lines, ())
    _draw_legend(canvas, shades)
    dropped = [_dropped(cell) for cells in lines.values() for cell in cells]
    across = linear([0.0, *dropped], _LEFT, _RIGHT)
    whole = next((c.record.accuracy for c in group.own if c.record.edges is None), None)
    scored = [c.record.accuracy for cells in lines.values() for c in cells if c.record.accuracy]
    said = "accuracy was not measured"
    if scored:
        said = f"{scored[0].metric}, {scored[0].samples:,} samples; dashed: all edges kept"
    level = whole.value if whole else None
    _draw_plot(canvas, _accuracies(lines), level, said, shades, across, top)
    speeds = _speeds(lines, group)
    said = "no dense configuration was measured in turns"
    if any(speeds.values()):
        said = "times as fast as with all edges; dashed: as fast"
    _draw_plot(canvas, speeds, 1.0, said, shades, across, middle)
    return canvas


def series(group: Group) -> dict[str, list[Cell]]:
    """The timed cells with compressed edges by configuration, least sparse first."""
    found: dict[str, list[Cell]] = defaultdict(list)
    for cell in group.own:
        if cell.record.edges is not None:
            found[cell.key.configuration.rsplit("@", 1)[0]].append(cell)
    for cells in found.values():
        cells.sort(key=_dropped)
    return dict(found)


def dense_of(cell: Cell, group: Group) -> Cell | None:
    """The cell that differs from this one in its edges only, which it has all."""
    wanted = _without_edges(cell)
    found = (other for other in group.own if other.record.edges is None)
    return next((other for other in found if _without_edges(other) == wanted), None)


def _without_edges(cell: Cell) -> dict[str, object]:
    configuration = cell.record.spec.get("configuration") or {}
    return {key: value for key, value in configuration.items() if key not in {"name", "edges"}}


def _dropped(cell: Cell) -> float:
    """The share of weights that is gone, in percent."""
    assert cell.record.edges is not None
    return 100 * cell.record.edges.sparsity_measured


def _draw_legend(canvas: Canvas, shades: Mapping[str, str]) -> None:
    width = (PANEL_WIDTH - 16) / _NAMES_A_ROW
    for at, (name, color) in enumerate(shades.items()):
        x = 14 + width * (at % _NAMES_A_ROW)
        y = 31 + _LEGEND_HEIGHT * (at // _NAMES_A_ROW)
        canvas.dots([(x, y)], color, size=7)
        canvas.text((x + 8, y), name, room=width - 18)


def _accuracies(lines: Mapping[str, list[Cell]]) -> dict[str, list[Figure]]:
    return {
        name: [
            (_dropped(cell), found.value, found.ci_low, found.ci_high)
            for cell in cells
            if (found := cell.record.accuracy) is not None
        ]
        for name, cells in lines.items()
    }


def _speeds(lines: Mapping[str, list[Cell]], group: Group) -> dict[str, list[Figure]]:
    """Times as fast as the dense cell, where they were measured in turns."""
    found: dict[str, list[Figure]] = {name: [] for name in lines}
    for name, cells in lines.items():
        for cell in cells:
            dense = dense_of(cell, group)
            verdict = cell.against(dense) if dense else None
            if verdict is not None and verdict.ci_low > 0:
                ratios = (1 / verdict.ratio, 1 / verdict.ci_high, 1 / verdict.ci_low)
                found[name].append((_dropped(cell), *ratios))
    return found


def _draw_plot(
    canvas: Canvas,
    lines: Mapping[str, list[Figure]],
    level: float | None,
    said: str,
    shades: Mapping[str, str],
    across: Scale,
    top: float,
) -> None:
    """One of the two plots; `level` is where no edge dropped would be."""
    values = [value for figures in lines.values() for _, *part in figures for value in part]
    canvas.text((8, top - 11), said, size=style.SMALL_SIZE, color=style.SOFT)
    if not values:
        return
    bottom = top + _PLOT_HEIGHT
    up = linear(values if level is None else [level, *values], bottom, top, zero=False)
    bottom_axis(canvas, across, top, bottom, "% of the weights dropped")
    left_axis(canvas, up, _LEFT, _RIGHT)
    if level is not None:
        canvas.lines([[(_LEFT, up(level)), (_RIGHT, up(level))]], style.SOFT, dashed=True, layer=1)
    for name, figures in lines.items():
        _draw_line(
            canvas,
            [(across(x), up(value)) for x, value, _, _ in figures],
            [(up(low), up(high)) for _, _, low, high in figures],
            shades[name],
        )


def _draw_line(
    canvas: Canvas, points: list[Point], intervals: list[tuple[float, float]], color: str
) -> None:
    if not points:
        return
    canvas.lines([points], color, width=1.4)
    bars = [[(x, low), (x, high)] for (x, _), (low, high) in zip(points, intervals, strict=True)]
    canvas.lines(bars, color, width=1.2)
    canvas.dots(points, color, size=6, edges=style.PAPER)
