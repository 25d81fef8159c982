"""Accuracy against latency, with the front of configurations that no other beats in both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from harness.record import Accuracy, Latency
from harness.report.data import Cell, Group, pareto_front
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, Scale, by_ratio, linear, text_width
from harness.report.plots.frame import PANEL_WIDTH, bottom_axis, far_apart, left_axis, panel
from harness.report.plots.labels import Box, place

_LEFT, _RIGHT, _TOP, _PLOT_HEIGHT = 50.0, PANEL_WIDTH - 10, 44.0, 120.0
_LABEL_HEIGHT = 11.0
_LABEL_ROOM = 150.0


def draw(group: Group, colors: Mapping[str, str]) -> Canvas | None:
    """One panel, or None when nothing in the group has both a latency and an accuracy."""
    cells = _scored(group)
    if not cells:
        return None
    figures = [_figures(cell) for cell in cells]
    # Labels stand above the error bars, like flags; the more there are, the more room they get.
    flags = _TOP + 10 + 6 * len(cells)
    bottom = flags + _PLOT_HEIGHT
    canvas = panel(group.title, bottom + 30)
    across = _latency_scale([latency for latency, _ in figures])
    ends = [end for _, accuracy in figures for end in (accuracy.ci_low, accuracy.ci_high)]
    up = linear(ends, bottom, flags, zero=False)
    bottom_axis(canvas, across, flags, bottom, "ms per inference")
    left_axis(canvas, up, _LEFT, _RIGHT)
    canvas.text(
        (8, 30),
        f"{figures[0][1].metric}, {figures[0][1].samples:,} samples",
        size=style.SMALL_SIZE,
        color=style.SOFT,
        room=PANEL_WIDTH - 16,
    )
    _draw_front(canvas, across, up, figures, bottom)
    front = set(_front(figures))
    points = [(across(latency.median_ms), up(accuracy.value)) for latency, accuracy in figures]
    for at, (cell, (latency, accuracy), (x, y)) in enumerate(
        zip(cells, figures, points, strict=True)
    ):
        color = colors[cell.label]
        canvas.lines(
            [
                [(x, up(accuracy.ci_low)), (x, up(accuracy.ci_high))],
                [(across(latency.ci_low_ms), y), (across(latency.ci_high_ms), y)],
            ],
            color,
            width=1.2,
        )
        canvas.dots(
            [(x, y)],
            color if at in front else style.PAPER,
            size=8,
            marker="circle" if cell.own else "diamond",
            edges=style.PAPER if at in front else color,
        )
    tops = [(x, up(accuracy.ci_high)) for (x, _), (_, accuracy) in zip(points, figures, strict=True)]
    bars = [
        Box(x - 2, top, x + 2, up(accuracy.ci_low))
        for (x, top), (_, accuracy) in zip(tops, figures, strict=True)
    ]
    _draw_labels(canvas, cells, tops, bars, Box(_LEFT, _TOP - 6, _RIGHT + 4, bottom))
    return canvas


def _draw_labels(
    canvas: Canvas,
    cells: list[Cell],
    anchors: list[tuple[float, float]],
    bars: list[Box],
    bounds: Box,
) -> None:
    sizes = [(min(text_width(cell.label), _LABEL_ROOM) + 4, _LABEL_HEIGHT) for cell in cells]
    boxes = place(anchors, sizes, bounds, bars, clearance=3.0)
    for cell, (x, y), box in zip(cells, anchors, boxes, strict=True):
        if box.bottom < y - 2:
            pole = min(max(x, box.left), box.right)
            canvas.lines([[(pole, box.bottom), (x, y)]], style.SOFT, width=0.7, layer=1)
        canvas.text((box.left + 2, (box.top + box.bottom) / 2), cell.label, room=_LABEL_ROOM)


def _draw_front(
    canvas: Canvas,
    across: Scale,
    up: Scale,
    figures: list[tuple[Latency, Accuracy]],
    bottom: float,
) -> None:
    """The front as a stair: what is reached at a latency stays reached at every longer one."""
    stair: list[tuple[float, float]] = []
    for at in _front(figures):
        latency, accuracy = figures[at]
        x, y = across(latency.median_ms), up(accuracy.value)
        stair += [(x, stair[-1][1] if stair else bottom), (x, y)]
    stair.append((_RIGHT, stair[-1][1]))
    canvas.lines([stair], style.FAINT, width=2.0, layer=1)


def _front(figures: list[tuple[Latency, Accuracy]]) -> list[int]:
    return pareto_front((latency.median_ms, accuracy.value) for latency, accuracy in figures)


def _scored(group: Group) -> list[Cell]:
    """The timed cells that were scored by the group's usual metric; others cannot share an axis."""
    scored = [cell for cell in group.timed if cell.record.accuracy]
    metrics = Counter(cell.record.accuracy.metric for cell in scored if cell.record.accuracy)
    usual = metrics.most_common(1)[0][0] if metrics else None
    return [c for c in scored if c.record.accuracy and c.record.accuracy.metric == usual]


def _figures(cell: Cell) -> tuple[Latency, Accuracy]:
    latency, accuracy = cell.record.latency, cell.record.accuracy
    assert latency is not None and accuracy is not None
    return latency, accuracy


def _latency_scale(latencies: list[Latency]) -> Scale:
    values = [end for latency in latencies for end in (latency.ci_low_ms, latency.ci_high_ms)]
    if far_apart(values):
        return by_ratio(values, _LEFT + 8, _RIGHT - 8)
    return linear(values, _LEFT, _RIGHT - 8)
