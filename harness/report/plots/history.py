"""Latency over the runs of a page, in the order of their time."""

from __future__ import annotations

from collections.abc import Mapping

from harness.report.data import Group
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, by_ratio, linear, text_width
from harness.report.plots.frame import (
    PLOT_HEIGHT,
    PLOT_LEFT,
    PLOT_RIGHT,
    far_apart,
    left_axis,
    legend,
    legend_height,
    line,
    panel,
)

_MOST_ROOM = 92.0
_MOST_NAMED = 28

Figure = tuple[int, float, float, float]
"""The number of a run, and a latency with its interval."""


def draw(group: Group, colors: Mapping[str, str]) -> Canvas | None:
    """One panel where this group is the first of several runs, or None."""
    lines = _lines(group)
    if not lines:
        return None
    every = -(-len(group.runs) // _MOST_NAMED)
    names = {at: each.run for at, each in enumerate(group.runs) if at % every == 0}
    widths = (text_width(name, size=style.SMALL_SIZE) for name in names.values())
    room = min(_MOST_ROOM, max(widths))
    top = legend_height([*lines]) + 16
    bottom = top + PLOT_HEIGHT
    canvas = panel(group.same_title, bottom + room + 16)
    legend(canvas, [*lines], colors)
    figures = [value for found in lines.values() for _, *interval in found for value in interval]
    wide = far_apart(figures)
    up = by_ratio(figures, bottom, top) if wide else linear(figures, bottom, top, zero=False)
    said = "ms per inference, " + ("logarithmic" if wide else "not from zero")
    canvas.text((8, top - 11), said, size=style.SMALL_SIZE, color=style.SOFT)
    across = linear([0.0, len(group.runs) - 1.0], PLOT_LEFT, PLOT_RIGHT, zero=False)
    left_axis(canvas, up, PLOT_LEFT, PLOT_RIGHT)
    for at, name in names.items():
        canvas.upright_text((across(at), bottom + 6), name, size=style.SMALL_SIZE, room=room)
    for name, found in lines.items():
        points = [(across(at), up(value)) for at, value, _, _ in found]
        line(canvas, points, [(up(low), up(high)) for _, _, low, high in found], colors[name])
    return canvas


def _lines(group: Group) -> dict[str, list[Figure]]:
    """The latencies of each configuration and engine that was timed in several runs."""
    found: dict[str, list[Figure]] = {}
    for at, each in enumerate(group.runs):
        for cell in each.timed:
            latency = cell.record.latency
            assert latency is not None
            figure = (at, latency.median_ms, latency.ci_low_ms, latency.ci_high_ms)
            found.setdefault(cell.label, []).append(figure)
    return {name: figures for name, figures in found.items() if len(figures) > 1}
