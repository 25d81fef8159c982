"""How the best found fell while tuning: times, or whatever else tuning went by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.report.data import Cell, Group
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, by_ratio, linear
from harness.report.plots.frame import bottom_axis, far_apart, left_axis, panel
from harness.report.plots.labels import spread
from harness.report.wording import duration, number

_LEFT, _RIGHT, _TOP, _PLOT_HEIGHT = 50.0, 278.0, 34.0, 130.0
_LABEL_GAP = 25.0
_MOST_POINTS = 400


def draw(group: Group, colors: Mapping[str, str]) -> Canvas | None:
    """One panel, or None when no configuration of the group has a tuning curve."""
    curves = {cell.label: curve for cell in group.cells if (curve := curve_of(cell))}
    cells = [cell for cell in group.cells if cell.label in curves]
    if not cells:
        return None
    bottom = _TOP + max(_PLOT_HEIGHT, _LABEL_GAP * len(cells))
    canvas = panel(group.title, bottom + 30)
    trials = [count for curve in curves.values() for count, _ in curve]
    estimates = [estimate for curve in curves.values() for _, estimate in curve]
    across = linear(trials, _LEFT, _RIGHT)
    if far_apart(estimates):
        up = by_ratio(estimates, bottom, _TOP)
    else:
        up = linear(estimates, bottom, _TOP, zero=False)
    bottom_axis(canvas, across, _TOP, bottom, "trials measured")
    left_axis(canvas, up, _LEFT, _RIGHT)
    unit = _unit(cells)
    canvas.text((8, _TOP - 6), unit, size=style.SMALL_SIZE, color=style.SOFT)
    ends = [up(curves[cell.label][-1][1]) for cell in cells]
    middles = spread(ends, _LABEL_GAP, _TOP + 6, bottom - 8)
    for cell, end, y in zip(cells, ends, middles, strict=True):
        color = colors[cell.label]
        stair: list[tuple[float, float]] = []
        for count, estimate in curves[cell.label]:
            if stair:
                stair.append((across(count), stair[-1][1]))
            stair.append((across(count), up(estimate)))
        canvas.lines([stair], color, width=1.8)
        canvas.dots([stair[-1]], color, size=5)
        canvas.lines([[stair[-1], (_RIGHT + 4, end), (_RIGHT + 12, y)]], style.FAINT, layer=1)
        canvas.text((_RIGHT + 16, y - 5), cell.label, bold=True, color=color, room=112)
        tuning = cell.record.tuning
        assert tuning is not None
        least = number(curves[cell.label][-1][1]) + (" ms" if unit == "ms" else "")
        said = f"{least} in {duration(tuning.seconds)}"
        canvas.text((_RIGHT + 16, y + 6), said, size=style.SMALL_SIZE, color=style.SOFT, room=112)
    return canvas


def _unit(cells: Sequence[Cell]) -> str:
    """The unit of a group's curves: tuning goes by the same cost in all of its cells."""
    by = {cell.record.tuning.by for cell in cells if cell.record.tuning is not None}
    return {"instructions": "instructions", "static estimate": "ms (static estimate)"}.get(
        next(iter(by)), "ms"
    )


def curve_of(cell: Cell) -> list[tuple[int, float]]:
    """(trials, estimate) from the first point on which every kernel has one.

    Long curves are thinned; the last point stays.
    """
    if cell.record.tuning is None:
        return []
    points = [
        (point.trials, point.estimate)
        for point in cell.record.tuning.curve
        if point.estimate is not None
    ]
    step = -(-len(points) // _MOST_POINTS) or 1
    return points[:-1:step] + points[-1:]
