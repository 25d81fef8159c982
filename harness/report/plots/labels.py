"""Where labels go, so that none covers another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.plots.canvas import Point


@dataclass(frozen=True)
class Box:
    """A rectangle in points; y goes down."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The area both cover."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across * down if across > 0 and down > 0 else 0.0

    def inside(self, other: Box) -> bool:
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near `wanted`, in the same order, at least `gap` apart and within low..high.

    When they do not all fit in low..high they overrun `high`, still `gap` apart.
    """
    order = sorted(range(len(wanted)), key=lambda at: (wanted[at], at))
    placed = list(wanted)
    edge = low - gap
    for at in order:
        edge = placed[at] = max(wanted[at], edge + gap)
    edge = max(high, low + gap * (len(wanted) - 1)) + gap
    for at in reversed(order):
        edge = placed[at] = min(placed[at], edge - gap)
    return placed


def flag_levels(starts: Sequence[float], widths: Sequence[float]) -> list[int]:
    """Levels, from 0, for labels that fly to the right of poles at `starts`, like flags.

    No label covers another, and no pole crosses one: a label flies above every pole under it.
    """
    levels = [0] * len(starts)
    for at in sorted(range(len(starts)), key=lambda at: (-starts[at], -at)):
        end = starts[at] + widths[at]
        under = [
            levels[other]
            for other in range(len(starts))
            if (starts[at], at) < (starts[other], other) and starts[other] < end
        ]
        levels[at] = max(under, default=-1) + 1
    return levels


def place(
    anchors: Sequence[Point],
    sizes: Sequence[tuple[float, float]],
    bounds: Box,
    occupied: Sequence[Box] = (),
    clearance: float = 6.0,
) -> list[Box]:
    """A box of the given (width, height) for each anchor: the nearest free place in `bounds`.

    Boxes avoid each other, the anchors and `occupied` areas. Where no place is free, the one that
    covers least is taken.
    """
    marks = [Box(x - 4, y - 4, x + 4, y + 4) for x, y in anchors]
    taken = [*occupied, *marks]
    placed: dict[int, Box] = {}
    for at in sorted(range(len(anchors)), key=lambda at: anchors[at]):
        best: tuple[float, Box] | None = None
        for box in _candidates(anchors[at], sizes[at], bounds, clearance):
            covered = sum(box.overlap(other) for other in taken)
            if best is None or covered < best[0]:
                best = covered, box
            if not covered:
                break
        assert best is not None
        placed[at] = best[1]
        taken.append(best[1])
    return [placed[at] for at in range(len(anchors))]


def _candidates(
    anchor: Point, size: tuple[float, float], bounds: Box, clearance: float
) -> list[Box]:
    """Places around an anchor, nearest first; at least one, moved into the bounds if it must."""
    (x, y), (width, height) = anchor, size
    found: list[tuple[float, Box]] = []
    step = height / 2
    for ring in range(int((bounds.bottom - bounds.top) / step) + 1):
        for side in (-1, 1) if ring else (1,):
            middle = y + side * ring * step
            for left in (x + clearance, x - clearance - width, x - width / 2):
                box = Box(left, middle - height / 2, left + width, middle + height / 2)
                away = abs(middle - y) + abs((box.left + box.right) / 2 - x) / 4
                if box.inside(bounds):
                    found.append((away, box))
    found.sort(key=lambda item: (item[0], item[1].left, item[1].top))
    if found:
        return [box for _, box in found]
    left = min(max(x + clearance, bounds.left), max(bounds.right - width, bounds.left))
    top = min(max(y - height / 2, bounds.top), max(bounds.bottom - height, bounds.top))
    return [Box(left, top, left + width, top + height)]
