from __future__ import annotations

from itertools import combinations, pairwise

from hypothesis import given
from hypothesis import strategies as st

from harness.report.plots.labels import Box, flag_levels, place, spread

FLAGS = st.lists(st.tuples(st.floats(0, 300), st.floats(5, 120)), min_size=1, max_size=12)


@given(st.lists(st.floats(-50, 250), max_size=12), st.floats(1, 30))
def test_spread_keeps_order_and_gap(wanted: list[float], gap: float) -> None:
    placed = spread(wanted, gap, 0, 200)
    order = sorted(range(len(wanted)), key=lambda at: (wanted[at], at))
    inorder = [placed[at] for at in order]
    assert all(b - a >= gap - 1e-6 for a, b in pairwise(inorder))
    if gap * (len(wanted) - 1) <= 200:
        assert all(-1e-6 <= position <= 200 + 1e-6 for position in placed)


def test_spread_leaves_positions_alone_when_they_are_apart() -> None:
    assert spread([10, 90, 50], 20, 0, 100) == [10, 90, 50]


@given(FLAGS)
def test_flag_levels_cover_no_label_and_cross_none(flags: list[tuple[float, float]]) -> None:
    starts, widths = [start for start, _ in flags], [width for _, width in flags]
    levels = flag_levels(starts, widths)
    for one, other in combinations(range(len(flags)), 2):
        left, right = sorted((one, other), key=lambda at: (starts[at], at))
        if starts[right] < starts[left] + widths[left]:
            assert levels[left] > levels[right], "the label flies above the pole under it"


@given(st.lists(st.tuples(st.floats(10, 290), st.floats(10, 140)), min_size=1, max_size=8))
def test_place_covers_nothing_when_there_is_room(anchors: list[tuple[float, float]]) -> None:
    bounds = Box(0, 0, 300, 150)
    boxes = place(anchors, [(9, 9)] * len(anchors), bounds)
    assert all(box.inside(bounds) for box in boxes)
    assert not any(one.overlap(other) for one, other in combinations(boxes, 2))


def test_place_gives_a_place_when_nothing_fits() -> None:
    (box,) = place([(5, 5)], [(50, 50)], Box(0, 0, 10, 10))
    assert (box.left, box.top) == (0, 0)
