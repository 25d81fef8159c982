"""Which layers keep how many of their edges: a row a compressed configuration, a column a layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import matplotlib
from matplotlib.colors import to_hex

from harness.records.record import LayerCompression
from harness.report.data import Cell, Group
from harness.report.edge_figures import compressed, dropped, kept_shares, layers_of, series_name
from harness.report.plots import style
from harness.report.plots.canvas import Canvas, Point, text_width
from harness.report.plots.frame import PANEL_WIDTH, panel, row_label
from harness.report.wording import share, short_names

_LEFT, _RIGHT_ROOM = 118.0, 44.0
_NARROWEST, _WIDEST = 9.0, 34.0
"""A column that has its layer's name beneath it, and one that has its figure in it with room."""
_MOST_WIDTH = 900.0
_FIGURES_FROM = 17.0
_ROW, _BETWEEN_SERIES = 14.0, 4.0
_BARS_TOP, _BARS_HEIGHT = 34.0, 24.0
_NAMES_ROOM = 130.0
_KEY_WIDTH, _KEY_STEPS = 120.0, 20

# Even in lightness to every form of colour vision (Nuñez, Anderton, Renslow, PLoS ONE 13(7), 2018);
# turned round, so that more ink is more edges.
_DARK = 0.46
"""The share from which on white is the easier to read on its colour."""
_MAP = matplotlib.colormaps["viridis_r"]


def draw(group: Group, _: Mapping[str, str]) -> Canvas | None:
    """One panel, or None when no record of the group has its layers."""
    cells = [cell for cell in compressed(group) if cell.record.edges and cell.record.edges.layers]
    if not cells:
        return None
    layers = layers_of(cells)
    room = max(PANEL_WIDTH, min(_MOST_WIDTH, _LEFT + _NARROWEST * len(layers) + _RIGHT_ROOM))
    column = min(_WIDEST, (room - _LEFT - _RIGHT_ROOM) / len(layers))
    rows = _rows(cells)
    bottom = rows[-1] + _ROW / 2
    names = short_names([layer.name for layer in layers])
    widest = max(text_width(name, size=style.SMALL_SIZE) for name in names)
    under = bottom + 4 + min(widest, _NAMES_ROOM) + 16
    canvas = panel(group.title, under + 24, width=room)
    _draw_flops(canvas, layers, column)
    _note(canvas, (_LEFT + column * len(layers) + 6, rows[0] - _ROW), "of all")
    _draw_rows(canvas, list(zip(rows, cells, strict=True)), layers, column)
    _draw_names(canvas, names, layers, column, bottom)
    _draw_key(canvas, under)
    return canvas


def color_of(kept: float) -> str:
    """The colour of a share of edges kept, 0 to 1."""
    return to_hex(_MAP(kept))


def _rows(cells: Sequence[Cell]) -> list[float]:
    """The middle of each row; configurations that differ in sparsity only stand together."""
    y = _BARS_TOP + _BARS_HEIGHT + 4 + _ROW / 2
    rows = [y]
    for before, cell in pairwise(cells):
        y += _ROW + (_BETWEEN_SERIES if series_name(before) != series_name(cell) else 0)
        rows.append(y)
    return rows


def _draw_flops(canvas: Canvas, layers: Sequence[LayerCompression], column: float) -> None:
    whole = sum(layer.flops for layer in layers)
    shares = [layer.flops / whole if whole else 0.0 for layer in layers]
    highest = max(shares) or 1.0
    bottom = _BARS_TOP + _BARS_HEIGHT
    canvas.boxes(
        [
            (
                left + column * 0.12,
                bottom - _BARS_HEIGHT * part / highest,
                left + column * 0.88,
                bottom,
            )
            for left, part in zip(_lefts(layers, column), shares, strict=True)
        ],
        style.SOFT,
    )
    right = _LEFT + column * len(layers)
    canvas.lines([[(_LEFT, _BARS_TOP), (right, _BARS_TOP)]], style.GRID, width=0.8, layer=0)
    _note(canvas, (_LEFT - 8, _BARS_TOP), share(highest), "right")
    _note(canvas, (_LEFT - 8, bottom - 6), "of the FLOPs", "right")


def _draw_rows(
    canvas: Canvas,
    rows: Sequence[tuple[float, Cell]],
    layers: Sequence[LayerCompression],
    column: float,
) -> None:
    boxes: list[tuple[float, float, float, float]] = []
    colors: list[str] = []
    gap = 0.5 if column > 4 else 0.0
    for y, cell in rows:
        row_label(canvas, _LEFT - 8, y, cell.label)
        right = _LEFT + column * len(layers) + 6
        canvas.text((right, y), share(1 - dropped(cell) / 100), size=style.SMALL_SIZE)
        kept = kept_shares(cell)
        for left, layer in zip(_lefts(layers, column), layers, strict=True):
            part = kept.get(layer.name)
            boxes.append((left + gap, y - _ROW / 2 + 0.5, left + column - gap, y + _ROW / 2 - 0.5))
            colors.append(style.GRID if part is None else color_of(part))
            if part is not None and column >= _FIGURES_FROM:
                canvas.text(
                    (left + column / 2, y),
                    f"{100 * part:.0f}",
                    size=style.SMALL_SIZE,
                    color=style.PAPER if part > _DARK else style.INK,
                    align="center",
                )
    canvas.boxes(boxes, colors)


def _draw_names(
    canvas: Canvas,
    names: Sequence[str],
    layers: Sequence[LayerCompression],
    column: float,
    bottom: float,
) -> None:
    """Each layer's name under its column, or every so many where columns are narrow."""
    step = math.ceil((_NARROWEST - 0.5) / column)
    for at, (left, name) in enumerate(zip(_lefts(layers, column), names, strict=True)):
        if at % step == 0:
            canvas.upright_text(
                (left + column / 2, bottom + 4),
                name,
                size=style.SMALL_SIZE,
                color=style.SOFT,
                room=_NAMES_ROOM,
            )


def _draw_key(canvas: Canvas, y: float) -> None:
    _note(canvas, (_LEFT - 8, y), "% of edges kept", "right")
    step = _KEY_WIDTH / _KEY_STEPS
    steps = range(_KEY_STEPS)
    canvas.boxes(
        [(_LEFT + step * at, y - 5, _LEFT + step * (at + 1), y + 5) for at in steps],
        [color_of((at + 0.5) / _KEY_STEPS) for at in steps],
    )
    for value in (0, 25, 50, 75, 100):
        _note(canvas, (_LEFT + _KEY_WIDTH * value / 100, y + 12), str(value), "center")


def _note(
    canvas: Canvas, at: Point, text: str, align: Literal["left", "center", "right"] = "left"
) -> None:
    canvas.text(at, text, size=style.SMALL_SIZE, color=style.SOFT, align=align)


def _lefts(layers: Sequence[LayerCompression], column: float) -> list[float]:
    return [_LEFT + column * at for at in range(len(layers))]
