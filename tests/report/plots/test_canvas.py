from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.report.plots.canvas import (
    Canvas,
    Scale,
    by_ratio,
    linear,
    one_line,
    shorten,
    text_width,
)

POSITIVE = st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=8)


@given(POSITIVE, st.booleans())
def test_scale_holds_its_values_and_ticks(values: list[float], ratio: bool) -> None:
    scale = by_ratio(values, 10, 200) if ratio else linear(values, 10, 200)
    assert all(10 <= scale(value) <= 200 for value in values)
    assert all(9.9 <= scale(tick) <= 200.1 for tick, _ in scale.ticks())
    ordered = sorted(values)
    assert [scale(value) for value in ordered] == sorted(scale(value) for value in ordered)


@pytest.mark.parametrize(
    ("scale", "labels"),
    [
        (linear([0.47, 9.4], 0, 100), ["0", "2.5", "5", "7.5"]),
        (by_ratio([0.4, 900], 0, 100), ["1", "10", "100", "1000"]),
        (by_ratio([0.4, 4.0], 0, 100), ["0.5", "1", "2"]),
    ],
)
def test_ticks_are_round(scale: Scale, labels: list[str]) -> None:
    assert [label for _, label in scale.ticks()] == labels


@given(st.text(max_size=80), st.floats(20, 200))
def test_shorten_fits_the_room(text: str, room: float) -> None:
    shown = shorten(text, room)
    assert text_width(shown) <= room or len(shown) <= 2
    if text_width(one_line(text)) <= room:
        assert shown == one_line(text)


def test_shorten_keeps_both_ends_when_it_is_too_long() -> None:
    shown = shorten("tuned-sparse-block-0.90", 80)
    assert shown.startswith("tuned") and shown.endswith("0.90") and "…" in shown


def test_png_shows_what_was_drawn_and_is_the_same_when_drawn_again() -> None:
    def draw() -> bytes:
        canvas = Canvas(100, 50)
        canvas.boxes([(10, 10, 30, 40)], "#0072b2")
        canvas.lines([[(50, 0), (50, 50)]], "#d55e00", width=4)
        canvas.dots([(80, 25)], "#009e73", size=10)
        canvas.text((2, 45), "$x$ \n\x00<&> 模型", size=8)
        return canvas.png()

    image = Image.open(io.BytesIO(draw())).convert("RGB")
    assert image.size == (200, 100)

    def near(at: tuple[int, int], color: tuple[int, int, int]) -> bool:
        found = image.getpixel(at)
        assert isinstance(found, tuple)
        return all(abs(one - other) < 12 for one, other in zip(found, color, strict=True))

    assert near((40, 50), (0, 0x72, 0xB2)), "the origin is the top left corner"
    assert near((100, 20), (0xD5, 0x5E, 0)) and near((160, 50), (0, 0x9E, 0x73))
    assert near((190, 10), (255, 255, 255))
    assert draw() == draw()
