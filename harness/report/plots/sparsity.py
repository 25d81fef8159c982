"""Accuracy and speed against the share of weights that was dropped, a line for each way to choose
them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from harness.record import Accuracy, Compression
from harness.report.data import Cell, Group
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, Point, Scale, linear
from harness.report.plots.frame import PANEL_WIDTH, bottom_axis, left_axis, panel

_LEFT, _RIGHT = 50.0, PANEL_WIDTH - 12
_PLOT_HEIGHT = 100.0
_GAP = 54.0
_LEGEND_HEIGHT = 13.0
_NAMES_A_ROW = 3


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
    dropped = [100 * _edges(cell).sparsity_measured for cells in lines.values() for cell in cells]
    across = linear([0.0, *dropped], _LEFT, _RIGHT)
    _draw_accuracy(canvas, group, lines, shades, across, top)
    _draw_speed(canvas, group, lines, shades, across, middle)
    return canvas


def series(group: Group) -> dict[str, list[Cell]]:
    """The timed cells with compressed edges by configuration, least sparse first."""
    found: dict[str, list[Cell]] = defaultdict(list)
    for cell in group.own:
        if cell.record.edges is not None:
            found[cell.key.configuration.rsplit("@", 1)[0]].append(cell)
    for cells in found.values():
        cells.sort(key=lambda cell: _edges(cell).sparsity_measured)
    return dict(found)


def dense_of(cell: Cell, group: Group) -> Cell | None:
    """The cell that differs from this one in its edges only, which it has all."""
    wanted = _without_edges(cell)
    found = (other for other in group.own if other.record.edges is None)
    return next((other for other in found if _without_edges(other) == wanted), None)


def _without_edges(cell: Cell) -> dict[str, object]:
    configuration = cell.record.spec.get("configuration") or {}
    return {key: value for key, value in configuration.items() if key not in {"name", "edges"}}


def _edges(cell: Cell) -> Compression:
    assert cell.record.edges is not None
    return cell.record.edges


def _draw_legend(canvas: Canvas, shades: Mapping[str, str]) -> None:
    width = (PANEL_WIDTH - 16) / _NAMES_A_ROW
    for at, (name, color) in enumerate(shades.items()):
        x = 14 + width * (at % _NAMES_A_ROW)
        y = 31 + _LEGEND_HEIGHT * (at // _NAMES_A_ROW)
        canvas.dots([(x, y)], color, size=7)
        canvas.text((x + 8, y), name, room=width - 18)


def _draw_accuracy(
    canvas: Canvas,
    group: Group,
    lines: Mapping[str, list[Cell]],
    shades: Mapping[str, str],
    across: Scale,
    top: float,
) -> None:
    scored = {
        name: [(cell, cell.record.accuracy) for cell in cells if cell.record.accuracy]
        for name, cells in lines.items()
    }
    known = [accuracy for points in scored.values() for _, accuracy in points]
    whole = [
        cell.record.accuracy
        for cell in group.own
        if cell.record.edges is None and cell.record.accuracy
    ]
    if not known:
        canvas.text((_LEFT, top), "accuracy was not measured", color=style.SOFT)
        return
    ends = [end for each in (*known, *whole[:1]) for end in (each.ci_low, each.ci_high)]
    bottom = top + _PLOT_HEIGHT
    up = linear(ends, bottom, top, zero=False)
    said = f"{known[0].metric}, {known[0].samples:,} samples"
    if whole:
        said += "; dashed: all edges kept"
    canvas.text((8, top - 11), said, size=style.SMALL_SIZE, color=style.SOFT)
    bottom_axis(canvas, across, top, bottom, "% of the weights dropped")
    left_axis(canvas, up, _LEFT, _RIGHT)
    if whole:
        y = up(whole[0].value)
        canvas.lines([[(_LEFT, y), (_RIGHT, y)]], style.SOFT, dashed=True, layer=1)
    for name, points in scored.items():
        _draw_line(
            canvas,
            [(across(100 * _edges(cell).sparsity_measured), up(a.value)) for cell, a in points],
            [_interval(a, up) for _, a in points],
            shades[name],
        )


def _interval(accuracy: Accuracy, up: Scale) -> tuple[float, float]:
    return up(accuracy.ci_low), up(accuracy.ci_high)


def _draw_speed(
    canvas: Canvas,
    group: Group,
    lines: Mapping[str, list[Cell]],
    shades: Mapping[str, str],
    across: Scale,
    top: float,
) -> None:
    """Times as fast as the dense cell, where they were measured in turns."""
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for name, cells in lines.items():
        found[name] = []
        for cell in cells:
            dense = dense_of(cell, group)
            verdict = cell.against(dense) if dense else None
            if verdict is not None and verdict.ci_low > 0:
                ratios = (1 / verdict.ratio, 1 / verdict.ci_low, 1 / verdict.ci_high)
                found[name].append((100 * _edges(cell).sparsity_measured, *ratios))
    values = [value for points in found.values() for _, *ratios in points for value in ratios]
    if not values:
        canvas.text((_LEFT, top), "no dense configuration was measured in turns", color=style.SOFT)
        return
    bottom = top + _PLOT_HEIGHT
    up = linear([1.0, *values], bottom, top, zero=False)
    canvas.text(
        (8, top - 11),
        "times as fast as with all edges; dashed: as fast",
        size=style.SMALL_SIZE,
        color=style.SOFT,
    )
    bottom_axis(canvas, across, top, bottom, "% of the weights dropped")
    left_axis(canvas, up, _LEFT, _RIGHT)
    canvas.lines([[(_LEFT, up(1.0)), (_RIGHT, up(1.0))]], style.SOFT, dashed=True, layer=1)
    for name, points in found.items():
        _draw_line(
            canvas,
            [(across(x), up(ratio)) for x, ratio, _, _ in points],
            [(up(low), up(high)) for _, _, low, high in points],
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
