"""From a text detector's probability map to boxes, and how well boxes match the true ones.

The steps are those of differentiable binarization (Liao et al., "Real-time Scene Text Detection
with Differentiable Binarization", AAAI 2020, section 3.4), for text that is not rotated: its boxes
are upright rectangles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.models.catalog.rendered_text import Box

THRESHOLD = 0.3
"""A pixel is text from this probability on."""
BOX_THRESHOLD = 0.5
"""A region is text from this mean probability on."""
UNCLIP_RATIO = 1.6
"""The network is trained on shrunken boxes; they grow back by area × ratio / perimeter."""
MIN_SIDE = 3
MATCH_OVERLAP = 0.5


def text_boxes(probability: np.ndarray) -> list[tuple[float, Box]]:
    """Score and box of each text region in a map of shape [height, width], values 0 to 1.

    The best-scored comes first. A value that is not a number is not text.
    """
    from scipy.ndimage import binary_dilation, find_objects, label

    height, width = probability.shape
    mask = binary_dilation(probability > THRESHOLD, structure=np.ones((2, 2)), origin=-1)
    regions, _ = label(mask, structure=np.ones((3, 3)))
    found: list[tuple[float, Box]] = []
    for rows, columns in find_objects(regions):
        high, wide = rows.stop - rows.start, columns.stop - columns.start
        score = float(probability[rows, columns].mean())
        if min(high, wide) < MIN_SIDE or not score >= BOX_THRESHOLD:
            continue
        grow = high * wide * UNCLIP_RATIO / (2 * (high + wide))
        box = (
            max(columns.start - grow, 0.0),
            max(rows.start - grow, 0.0),
            min(columns.stop + grow, float(width)),
            min(rows.stop + grow, float(height)),
        )
        found.append((score, box))
    return sorted(found, key=lambda item: -item[0])


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    if wide <= 0 or high <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return wide * high / (sum(areas) - wide * high)


def match_counts(found: Sequence[Box], true: Sequence[Box]) -> tuple[int, int, int]:
    """True positives, false positives and false negatives.

    Each found box, the best-scored first, takes the true box it overlaps most among those left,
    if by `MATCH_OVERLAP` at least.
    """
    left = list(true)
    hits = 0
    for box in found:
        best = max(left, key=lambda other: overlap(box, other), default=None)
        if best is not None and overlap(box, best) >= MATCH_OVERLAP:
            left.remove(best)
            hits += 1
    return hits, len(found) - hits, len(left)
