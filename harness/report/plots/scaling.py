"""Latency and rate against batch, threads and streams, a line for each configuration and engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.report.data import Cell, Group
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, Point, by_ratio, linear
from harness.report.plots.frame import PANEL_WIDTH, bottom_axis, left_axis, panel
from harness.specs.settings import AXES

_LEFT, _RIGHT = 54.0, PANEL_WIDTH - 12
_PLOT_HEIGHT = 110.0
_GAP = 56.0
_ROW = 13.0
_NAMES_A_ROW = 3
_TOP = 30.0
_WIDE = 4.0
"""A logarithmic axis of less has hardly a round value."""

Figure = tuple[int, float, float, float]
"""A value on an axis, and a figure with its interval."""


def draw(group: Group, colors: Mapping[str, str]) -> Canvas | None:
    """Two plots for each axis along which this group is the first of several; None without one."""
    if not any(len(_lines(groups)) for groups in group.along.values()):
        return None
    names = [*dict.fromkeys(cell.label for along in group.along.values() for cell in _timed(along))]
    rows = -(-len(names) // _NAMES_A_ROW)
    first = _TOP + _ROW * rows + 16
    height = first + 2 * (_PLOT_HEIGHT + _GAP) * len(group.along) - _GAP + 32
    canvas = panel(group.title.removesuffix(f" ({group.settings})"), height)
    _draw_legend(canvas, names, colors)
    for at, (axis, groups) in enumerate(group.along.items()):
        top = first + 2 * (_PLOT_HEIGHT + _GAP) * at
        values = [getattr(each.settings, axis) for each in groups]
        latencies = {name: [*_latencies(axis, line)] for name, line in _lines(groups).items()}
        rates = {name: [*_rates(axis, line)] for name, line in _lines(groups).items()}
        others = str(group.settings.model_copy(update={axis: None}))
        title = AXES[axis].title.lower() + (f", at {others}" if others else "")
        _draw_plot(canvas, latencies, values, "ms per inference", title, colors, top)
        said = "samples a second, all streams together"
        below = top + _PLOT_HEIGHT + _GAP
        _draw_plot(canvas, rates, values, said, title, colors, below)
    return canvas


def _timed(groups: Sequence[Group]) -> Iterator[Cell]:
    return (cell for group in groups for cell in group.timed)


def _lines(groups: Sequence[Group]) -> dict[str, list[Cell]]:
    """The timed cells of each configuration and engine, those that have several."""
    found: dict[str, list[Cell]] = {}
    for cell in _timed(groups):
        found.setdefault(cell.label, []).append(cell)
    return {name: cells for name, cells in found.items() if len(cells) > 1}


def _latencies(axis: str, cells: Sequence[Cell]) -> Iterator[Figure]:
    for cell in cells:
        latency = cell.record.latency
        assert latency is not None
        at = getattr(cell.key.settings, axis)
        yield at, latency.median_ms, latency.ci_low_ms, latency.ci_high_ms


def _rates(axis: str, cells: Sequence[Cell]) -> Iterator[Figure]:
    for cell, (at, *milliseconds) in zip(cells, _latencies(axis, cells), strict=True):
        batch, found = cell.key.settings.batch or 1, cell.record.throughput
        median, low, high = (1e3 / each for each in milliseconds)
        rate, least, most = (
            (found.per_second, found.ci_low, found.ci_high) if found else (median, high, low)
        )
        yield at, batch * rate, batch * least, batch * most


def _draw_legend(canvas: Canvas, names: Sequence[str], colors: Mapping[str, str]) -> None:
    width = (PANEL_WIDTH - 16) / _NAMES_A_ROW
    for at, name in enumerate(names):
        x, y = 14 + width * (at % _NAMES_A_ROW), 31 + _ROW * (at // _NAMES_A_ROW)
        canvas.dots([(x, y)], colors[name], size=7)
        canvas.text((x + 8, y), name, room=width - 20)


def _draw_plot(
    canvas: Canvas,
    lines: Mapping[str, Sequence[Figure]],
    values: Sequence[int],
    said: str,
    axis: str,
    colors: Mapping[str, str],
    top: float,
) -> None:
    bottom = top + _PLOT_HEIGHT
    across = by_ratio([float(value) for value in values], _LEFT, _RIGHT)
    figures = [figure for line in lines.values() for _, *interval in line for figure in interval]
    wide = max(figures) > _WIDE * min(figures)
    up = by_ratio(figures, bottom, top) if wide else linear(figures, bottom, top, zero=False)
    said += ", logarithmic" if wide else ", not from zero"
    canvas.text((8, top - 11), said, size=style.SMALL_SIZE, color=style.SOFT)
    bottom_axis(canvas, across, top, bottom, axis, values=values)
    left_axis(canvas, up, _LEFT, _RIGHT)
    for name, line in lines.items():
        points: list[Point] = [(across(at), up(value)) for at, value, _, _ in line]
        bars = [[(across(at), up(low)), (across(at), up(high))] for at, _, low, high in line]
        canvas.lines([points], colors[name], width=1.4)
        canvas.lines(bars, colors[name], width=2.0)
        canvas.dots(points, colors[name], size=6, edges=style.PAPER)
