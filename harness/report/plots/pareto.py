"""Accuracy against latency, with the front of configurations that no other beats in both."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median

from harness.records.accuracy import score
from harness.records.record import Accuracy, Latency
from harness.report.data import Cell, Group, pareto_front
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, Point, Scale, by_ratio, linear, text_width
from harness.report.plots.frame import PANEL_WIDTH, bottom_axis, far_apart, left_axis, panel
from harness.report.plots.labels import flag_levels

_LEFT, _RIGHT, _TOP, _PLOT_HEIGHT = 50.0, PANEL_WIDTH - 6, 46.0, 120.0
_LABEL_HEIGHT = 12.0
_LABEL_ROOM = 100.0
MOST_NAMED = 12
"""More names take more of the panel than its points."""
_SPREAD = 6.0
"""Scores further below the best one than so many times the median distance are below the axis: one
ruined network must not press the others together."""


def draw(group: Group, colors: Mapping[str, str]) -> Canvas | None:
    """One panel, or None when nothing in the group has both a latency and an accuracy."""
    cells = scored(group)
    if not cells:
        return None
    figures = [_figures(cell) for cell in cells]
    across = _latency_scale([latency for latency, _ in figures])
    shown = named(cells)
    low = lowest_shown([accuracy for _, accuracy in figures])
    below = [accuracy.value < low for _, accuracy in figures]
    labels = [
        f"{cell.label} ▼ {score(accuracy.value)}" if under else cell.label
        for cell, (_, accuracy), under in zip(cells, figures, below, strict=True)
    ]
    widths = [min(text_width(labels[at]), _LABEL_ROOM) + 8 for at in shown]
    levels = flag_levels([across(figures[at][0].median_ms) for at in shown], widths)
    # Labels fly above the error bars; the more levels of them, the more room they get.
    top = _TOP + 8 + _LABEL_HEIGHT * max(levels)
    bottom = top + _PLOT_HEIGHT
    canvas = panel(group.title, bottom + 30)
    above = [accuracy for _, accuracy in figures if accuracy.value >= low]
    ends = [end for accuracy in above for end in (max(accuracy.ci_low, low), accuracy.ci_high)]
    up = linear(ends, bottom, top, zero=False)
    bottom_axis(canvas, across, top, bottom, "ms per inference")
    left_axis(canvas, up, _LEFT, _RIGHT)
    _draw_subtitle(canvas, group, figures[0][1])
    _draw_front(canvas, across, up, figures, bottom)
    front = set(_front(figures))
    points = [
        (across(latency.median_ms), bottom if under else up(accuracy.value))
        for (latency, accuracy), under in zip(figures, below, strict=True)
    ]
    bars: list[list[Point]] = []
    for (latency, accuracy), (x, y), under in zip(figures, points, below, strict=True):
        ends_of = (max(accuracy.ci_low, low), accuracy.ci_high)
        bars.append([(x, y), (x, y)] if under else [(x, up(end)) for end in ends_of])
        bars.append([(across(latency.ci_low_ms), y), (across(latency.ci_high_ms), y)])
    canvas.lines(bars, [colors[cell.label] for cell in cells for _ in range(2)], width=1.2)
    for at, (cell, point) in enumerate(zip(cells, points, strict=True)):
        color = colors[cell.label]
        canvas.dots(
            [point],
            color if at in front else style.PAPER,
            size=8,
            marker="circle" if cell.own else "diamond",
            edges=style.PAPER if at in front else color,
        )
    poles: list[list[Point]] = []
    for at, level in zip(shown, levels, strict=True):
        x, y = points[at][0], top - 2 - _LABEL_HEIGHT * level
        foot = bottom if below[at] else up(figures[at][1].ci_high)
        poles.append([(x, foot), (x, y - 4)])
        canvas.text((x + 4, y), labels[at], room=_LABEL_ROOM)
    canvas.lines(poles, style.SOFT, width=0.7, layer=1)
    return canvas


def lowest_shown(accuracies: Sequence[Accuracy]) -> float:
    """The lowest accuracy that the axis shows; those below it are drawn at its foot."""
    best = max(accuracies, key=lambda accuracy: accuracy.value)
    away = median(best.value - accuracy.value for accuracy in accuracies)
    reach = max(_SPREAD * away, 2 * (best.ci_high - best.ci_low))
    return best.value - reach if reach else -math.inf


def named(cells: Sequence[Cell]) -> list[int]:
    """Which of the scored cells are named: all of few; of many the front, other engines, and the
    most accurate."""
    figures = [_figures(cell) for cell in cells]
    front = set(_front(figures))
    order = sorted(
        range(len(cells)),
        key=lambda at: (at not in front and cells[at].own, -figures[at][1].value),
    )
    return sorted(order[:MOST_NAMED])


def _draw_subtitle(canvas: Canvas, group: Group, accuracy: Accuracy) -> None:
    """The title of the vertical axis, and the cells without an accuracy."""
    said = f"{accuracy.metric}, {accuracy.samples:,} samples"
    missing = [cell.label for cell in group.timed if not cell.accuracy]
    if missing:
        said += f"; not scored: {', '.join(missing)}"
    canvas.text((8, 30), said, size=style.SMALL_SIZE, color=style.SOFT, room=PANEL_WIDTH - 16)


def _draw_front(
    canvas: Canvas,
    across: Scale,
    up: Scale,
    figures: list[tuple[Latency, Accuracy]],
    bottom: float,
) -> None:
    """The front as a stair: an accuracy reached at a latency is reached at every longer one."""
    stair: list[tuple[float, float]] = []
    for at in _front(figures):
        latency, accuracy = figures[at]
        x, y = across(latency.median_ms), min(up(accuracy.value), bottom)
        stair += [(x, stair[-1][1] if stair else bottom), (x, y)]
    stair.append((_RIGHT, stair[-1][1]))
    canvas.lines([stair], style.FAINT, width=2.0, layer=1)


def _front(figures: list[tuple[Latency, Accuracy]]) -> list[int]:
    return pareto_front((latency.median_ms, accuracy.value) for latency, accuracy in figures)


def scored(group: Group) -> list[Cell]:
    """The timed cells that were scored by the group's usual metric; others cannot share an axis."""
    scored = [cell for cell in group.timed if cell.accuracy]
    metrics = Counter(cell.accuracy.metric for cell in scored if cell.accuracy)
    usual = metrics.most_common(1)[0][0] if metrics else None
    return [c for c in scored if c.accuracy and c.accuracy.metric == usual]


def _figures(cell: Cell) -> tuple[Latency, Accuracy]:
    latency, accuracy = cell.record.latency, cell.accuracy
    assert latency is not None and accuracy is not None
    return latency, accuracy


def _latency_scale(latencies: list[Latency]) -> Scale:
    values = [end for latency in latencies for end in (latency.ci_low_ms, latency.ci_high_ms)]
    # The last label flies to the right of its point, so the points leave it room.
    if far_apart(values):
        return by_ratio(values, _LEFT, _RIGHT - _LABEL_ROOM)
    return linear(values, _LEFT, _RIGHT - _LABEL_ROOM, zero=False)
