"""What is written on the pictures that a test draws, and whether it can be read."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from harness.report.plots import style
from harness.report.plots.canvas import Canvas, shorten, text_width
from harness.report.plots.labels import Box

TOUCH = 1.0
"""Square points two texts may share: boxes of text are a little taller than their letters."""


def written_texts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Box]]:
    """A list that every text written on a canvas from now on is added to, with its place."""
    written: list[tuple[str, Box]] = []
    write, write_upright = Canvas.text, Canvas.upright_text

    def note(canvas: Canvas, shown: str, box: Box) -> None:
        assert box.inside(Box(0, 0, canvas.width, canvas.height)), f"{shown} leaves the picture"
        written.append((shown, box))

    def level(canvas: Canvas, at: tuple[float, float], text: str, **options: Any) -> None:
        shown, width, size = _shown(text, options)
        start = {"left": 0.0, "center": 0.5, "right": 1.0}[options.get("align", "left")]
        left = at[0] - width * start
        note(canvas, shown, Box(left, at[1] - size * 0.45, left + width, at[1] + size * 0.45))
        write(canvas, at, text, **options)

    def upright(canvas: Canvas, at: tuple[float, float], text: str, **options: Any) -> None:
        shown, width, size = _shown(text, options)
        note(canvas, shown, Box(at[0] - size * 0.45, at[1], at[0] + size * 0.45, at[1] + width))
        write_upright(canvas, at, text, **options)

    monkeypatch.setattr(Canvas, "text", level)
    monkeypatch.setattr(Canvas, "upright_text", upright)
    return written


def assert_readable(written: list[tuple[str, Box]]) -> None:
    """No text covers another."""
    for (one, its_box), (other, other_box) in combinations(written, 2):
        assert its_box.overlap(other_box) < TOUCH, f"{one!r} covers {other!r}"


def _shown(text: str, options: dict[str, Any]) -> tuple[str, float, float]:
    size, bold = options.get("size", style.TEXT_SIZE), options.get("bold", False)
    room = options.get("room")
    shown = text if room is None else shorten(text, room, size=size, bold=bold)
    return shown, text_width(shown, size=size, bold=bold), size
