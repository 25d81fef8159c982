"""Latency and rate against batch, threads and streams, a line for each configuration and engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.report.data import Cell, Group
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, by_ratio, linear
from harness.report.plots.frame import (
    PLOT_HEIGHT,
    PLOT_LEFT,
    PLOT_RIGHT,
    bottom_axis,
    left_axis,
    legend,
    legend_height,
    line,
    panel,
)
from harness.specs.settings import AXES

_GAP = 56.0
_WIDE = 4.0
"""A logarithmic axis of less has hardly a round value."""

Figure = tuple[int, float, float, float]
"""A value on an axis, and a figure with its interval."""


def draw(group: Group, colors: Mapping[str, str]) -> Canvas | None:
    """Two plots for each axis along which this group is the first of several; None without one."""
    if not any(len(_lines(groups)) for groups in group.along.values()):
        return None
    names = [*dict.fromkeys(cell.label for along in group.along.values() for cell in _timed(along))]
    first = legend_height(names) + 16
    height = first + 2 * (PLOT_HEIGHT + _GAP) * len(group.along) - _GAP + 32
    canvas = panel(group.title.removesuffix(f" ({group.settings})"), height)
    legend(canvas, names, colors)
    for at, (axis, groups) in enumerate(group.along.items()):
        top = first + 2 * (PLOT_HEIGHT + _GAP) * at
        values, found = [getattr(each.settings, axis) for each in groups], _lines(groups)
        latencies = {name: [*_latencies(axis, cells)] for name, cells in found.items()}
        rates = {name: [*_rates(axis, cells)] for name, cells in found.items()}
        others = str(group.settings.model_copy(update={axis: None}))
        title = AXES[axis].title.lower() + (f", at {others}" if others else "")
        _draw_plot(canvas, latencies, values, "ms per inference", title, colors, top)
        said = "samples a second, all streams together"
        below = top + PLOT_HEIGHT + _GAP
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


def _draw_plot(
    canvas: Canvas,
    lines: Mapping[str, Sequence[Figure]],
    values: Sequence[int],
    said: str,
    axis: str,
    colors: Mapping[str, str],
    top: float,
) -> None:
    bottom = top + PLOT_HEIGHT
    across = by_ratio([float(value) for value in values], PLOT_LEFT, PLOT_RIGHT)
    figures = [figure for found in lines.values() for _, *interval in found for figure in interval]
    wide = max(figures) > _WIDE * min(figures)
    up = by_ratio(figures, bottom, top) if wide else linear(figures, bottom, top, zero=False)
    said += ", logarithmic" if wide else ", not from zero"
    canvas.text((8, top - 11), said, size=style.SMALL_SIZE, color=style.SOFT)
    bottom_axis(canvas, across, top, bottom, axis, values=values)
    left_axis(canvas, up, PLOT_LEFT, PLOT_RIGHT)
    for name, found in lines.items():
        points = [(across(at), up(value)) for at, value, _, _ in found]
        line(canvas, points, [(up(low), up(high)) for _, _, low, high in found], colors[name])
